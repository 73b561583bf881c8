"""Bring a testbed up, hand out handles, take it down.

Order of the way up: folder and journal, all processes at once, links (the first node's agent makes
the underlay, the others follow together), rules, enrolment, then a real round trip to every pod.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness import dataplanes
from harness.control import Channel, ControlError, Reply, Unreachable
from harness.controlplane.document import document as mesh_document
from harness.controlplane.synthetic import with_policies
from harness.dataplanes import DataPlane
from harness.engines.api import Engine, EngineError, Member
from harness.engines.choice import Choice
from harness.errors import RunFailed
from harness.interrupts import uninterrupted
from harness.plan.model import Interception
from harness.testbed import ready
from harness.testbed.cpus import CpuSets, cpu_sets
from harness.testbed.members import compose, wired
from harness.testbed.rundir import RunDir, State
from harness.topology.document import to_json
from harness.topology.layout import Layout
from harness.topology.model import Topology

log = logging.getLogger("harness.testbed")

ANSWER_TIMEOUT_S = 10.0
"""For a member to open its control socket; the slowest (Locust's imports) takes 1.5 s on an idle core."""
LOOK_S = 0.5
"""Between looks at members that have ended while one is awaited."""
IN_FORCE_S = 20.0
"""For a mesh document to be in force: 0.25 s until it is looked at, and 2 s to read 10,000 policies."""
LOOK_AT_VERSION_S = 0.01
EXIT_WAIT_S = 1.0
EXIT_LOOK_S = 0.02
LOG_TAIL_LINES = 8


class NotInForce(RunFailed):
    """A proxy does not follow the mesh document; the message says which."""


class BringUpFailed(RunFailed):
    """The testbed did not come up; the message says at which step, and what members that ended wrote."""


@dataclass(slots=True, kw_only=True)
class Testbed:
    """A running testbed. Use as a context manager; leaving it takes everything down.

    `topology`, `layout`, `engine` and `members` are for reading; channels open when first used.
    """

    choice: Choice
    topology: Topology
    dataplane: str
    interception: Interception
    suite: str = ""
    filler_rules: int = 0
    policies: int = 0
    """Synthetic ones in force at the proxies."""
    told: Callable[[str], None] = log.info
    standing: bool = False
    """Whether it outlives this process (`up`)."""
    failure_logs: Path | None = None
    """Where every member's log goes when the way up fails; None: only the last words of those that ended."""
    up_s: float = 0.0
    """How long the way up took, images and all."""
    stages_s: dict[str, float] = field(default_factory=dict)
    """The way up, stage by stage."""
    engine: Engine = field(init=False)
    layout: Layout = field(init=False)
    members: tuple[Member, ...] = field(init=False, default=())
    rundir: RunDir = field(init=False)
    _channels: dict[Path, Channel] = field(init=False, default_factory=dict)
    _undo: ExitStack = field(init=False, default_factory=ExitStack)

    def __enter__(self) -> Self:
        """Bring it up.

        Raises:
            BringUpFailed: A step failed; what had been made is gone again.
        """
        begin = time.monotonic()
        try:
            self._bring_up(self._undo)
        except BaseException as exc:
            self._give_up(exc)
            raise
        self.up_s = time.monotonic() - begin
        log.info("testbed up run=%s engine=%s seconds=%.2f", self.run_id, self.choice.name, self.up_s)
        return self

    @uninterrupted
    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Take it down, unless it stands."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
        if self.standing and kind is None:
            self._undo.pop_all()
        else:
            self._undo.close()

    @property
    def run_id(self) -> str:
        """The run's id, part of every name that was made."""
        return self.rundir.journal.run_id

    @property
    def carries(self) -> bool:
        """Whether a proxy runs on every node."""
        return dataplanes.named(self.dataplane).CARRIES

    @property
    def lacks(self) -> Mapping[str, str]:
        """What a round asks of a proxy -> why this data plane's cannot be asked."""
        return dataplanes.named(self.dataplane).LACKS

    def describe(self) -> dict[str, Any]:
        """Every member: what it is for, what it runs, from which files, with which capabilities and why."""
        pids = self.engine.pids()
        return {
            member.name: {
                "role": member.role.value,
                "node": member.node,
                "namespace": member.namespace,
                "command": list(member.command),
                "files": self.engine.files_of(member),
                "capabilities": dict(member.capabilities),
                "pid": pids.get(member.name),
                "cpus": list(member.cpus),
            }
            for member in self.members
        }

    def wanted_members(self) -> tuple[Member, ...]:
        """The processes that make this testbed up."""
        members = compose(self.topology, dataplanes.named(self.dataplane), self.layout)
        return tuple(map(self.cpu_sets.bound, members))

    @property
    def cpu_sets(self) -> CpuSets:
        """Which cores each role has to itself on this machine, if there are enough."""
        return cpu_sets(sorted(os.sched_getaffinity(0)), [node.name for node in self.topology.nodes])

    # Handles

    def agent(self, node: str) -> Channel:
        """The control channel to a node's agent."""
        return self._channel(self.layout.agent(node))

    def proxy(self, node: str) -> Channel:
        """The control channel to a node's proxy."""
        return self._channel(self.layout.proxy(node))

    def probe(self, pod: str) -> Channel:
        """The control channel to a client pod's first-packet probe."""
        return self._channel(self.layout.probe(pod))

    def locust(self, pod: str) -> Channel:
        """The control channel to a client pod's Locust process."""
        return self._channel(self.layout.locust(pod))

    def agents(self) -> dict[str, Channel]:
        """The control channels to all agents, by node."""
        return {node.name: self.agent(node.name) for node in self.topology.nodes}

    def proxies(self) -> dict[str, Channel]:
        """The control channels to all proxies, by node; empty without a data plane."""
        if not self.carries:
            return {}
        return {node.name: self.proxy(node.name) for node in self.topology.nodes}

    def ask_agents(self, op: str, /, **arguments: object) -> dict[str, Reply]:
        """Ask every agent the same at the same time; node -> answer."""
        return self._ask_all(self.agents(), op, arguments)

    def ask_proxies(self, op: str, /, **arguments: object) -> dict[str, Reply]:
        """Ask every proxy the same at the same time; node -> answer, nothing without a data plane."""
        return self._ask_all(self.proxies(), op, arguments)

    def capture(self, interception: Interception, filler_rules: int = 0) -> dict[str, Reply]:
        """Write the rules of a level into every captured pod; node -> what its agent applied."""
        replies = self.ask_agents("capture", interception=interception.value, filler_rules=filler_rules)
        self.interception, self.filler_rules = interception, filler_rules
        return replies

    def apply_policies(self, count: int) -> None:
        """Have the proxies judge by so many synthetic policies more, and wait until they all do.

        Raises:
            NotInForce: A proxy did not take the document.
        """
        if not self.carries or count == self.policies:
            return
        before = self._mesh_versions()
        document = with_policies(json.loads(self.layout.mesh.read_text()), count)
        beside = self.layout.mesh.with_suffix(".new")
        beside.write_text(json.dumps(document))
        beside.replace(self.layout.mesh)
        deadline = time.monotonic() + IN_FORCE_S
        while True:
            late = [node for node, version in self._mesh_versions().items() if version <= before[node]]
            if not late:
                break
            if time.monotonic() > deadline:
                raise NotInForce(
                    f"{count} synthetic policies: {self.layout.mesh} was replaced, but the proxies of node "
                    f"{', '.join(late)} did not take it within {IN_FORCE_S:g} s; their logs say why"
                )
            time.sleep(LOOK_AT_VERSION_S)
        self.policies = count

    def _mesh_versions(self) -> dict[str, int]:
        return {
            node: int(reply.document["mesh_version"]) for node, reply in self.ask_proxies("stats").items()
        }

    def exited(self) -> Mapping[str, int]:
        """Members that have ended although nobody asked them to, with their exit codes."""
        return self.engine.exited()

    def whose_end(self) -> str:
        """Who ended, in words. Asked when a channel broke, which is a moment before its process is gone."""
        deadline = time.monotonic() + EXIT_WAIT_S
        while not (ended := self.exited()) and time.monotonic() < deadline:
            time.sleep(EXIT_LOOK_S)
        return (
            ", ".join(f"{name} ended with {code}" for name, code in ended.items())
            or "every member still runs"
        )

    def collect_logs(self, folder: Path) -> None:
        """Copy what every member wrote into `folder`, one file each; a member without a log has none."""
        folder.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(len(self.members) or 1) as pool:
            for member, text in zip(self.members, pool.map(self._log, self.members), strict=True):
                if text:
                    (folder / f"{member.name}.log").write_text(text)

    # The way up

    def _bring_up(self, undo: ExitStack) -> None:
        self.rundir = RunDir.create(
            engine=self.choice.name,
            suite=self.suite,
            dataplane=self.dataplane,
            interception=self.interception.value,
        )
        undo.callback(self.rundir.remove)
        self.layout = self.rundir.layout
        self.engine = self.choice.module.engine(self.rundir.run)
        members = self.wanted_members()
        images = {member.image for member in members}
        self._stage("images", lambda: self.engine.prepare(self.told, images))
        self._stage("files", self._write_files)
        self.members = members
        undo.callback(self.engine.remove)
        early = wired(self.members)
        late = [member for member in self.members if member not in early]
        # Proxies and load take long to import what they need: that time and the wiring's overlap.
        with ThreadPoolExecutor(1, thread_name_prefix="late") as pool:
            self._stage("processes", lambda: self.engine.start(early))
            starting = pool.submit(self.engine.start, late)
            self._stage("links", lambda: self._wire(early))
            self._stage("late processes", starting.result)
        self._stage("rules", lambda: self.capture(self.interception, self.filler_rules))
        if self.carries:
            self._stage("enrolment", lambda: self._enrol(dataplanes.named(self.dataplane)))
        self._stage("load", self._await_load)
        self._stage("round trips", lambda: ready.check(self.engine, self.topology))
        if self.standing:
            self.engine.detach()
        self.rundir = self.rundir.marked(State.STANDING if self.standing else State.MEASURING)

    def _stage(self, name: str, work: Callable[[], object]) -> None:
        begin = time.monotonic()
        log.info("stage started name=%s", name)
        work()
        self.stages_s[name] = time.monotonic() - begin
        log.info("stage complete name=%s seconds=%.2f", name, self.stages_s[name])

    def _write_files(self) -> None:
        for folder in self.layout.folders(self.topology):
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        self.layout.topology.write_text(to_json(self.topology))
        self.layout.mesh.write_text(json.dumps(mesh_document(self.topology), indent=2) + "\n")

    def _wire(self, early: Iterable[Member]) -> None:
        namespaces = sorted({member.namespace for member in early})
        paths = {name: self.engine.namespace_path(name) for name in namespaces}
        topology = str(self.layout.topology)
        first, *others = (node.name for node in self.topology.nodes)
        self.agent(first).call("setup", namespaces=paths, topology=topology, underlay=True)
        setup = {"namespaces": paths, "topology": topology, "underlay": False}
        self._ask_all({node: self.agent(node) for node in others}, "setup", setup)

    def _enrol(self, dataplane: DataPlane) -> None:
        """Await the proxies, and hand every captured pod to its node's; its rules are there already."""
        for node in self.topology.nodes:
            self.proxy(node.name)
        captured = [pod for pod in self.topology.pods if pod.captured and dataplane.enrols(pod.node)]
        for pod in captured:
            self.agent(pod.node).send("enrol", pod=pod.name)
        for pod in captured:
            self.agent(pod.node).receive()

    def _await_load(self) -> None:
        for pod in self.topology.pods:
            if pod.client:
                self.probe(pod.name)
                self.locust(pod.name)

    def _channel(self, path: Path) -> Channel:
        if path not in self._channels:
            self._channels[path] = self._connected(path)
        return self._channels[path]

    def _connected(self, path: Path) -> Channel:
        """Wait until somebody listens at `path`, unless a member ends meanwhile: then nobody ever may."""
        deadline = time.monotonic() + ANSWER_TIMEOUT_S
        while True:
            try:
                return Channel(path, connect_timeout_s=LOOK_S)
            except Unreachable:
                if time.monotonic() > deadline or self.engine.exited():
                    raise

    def _ask_all(
        self, channels: Mapping[str, Channel], op: str, arguments: Mapping[str, object]
    ) -> dict[str, Reply]:
        for channel in channels.values():
            channel.send(op, **arguments)
        return {name: channel.receive() for name, channel in channels.items()}

    # When it goes wrong

    @uninterrupted
    def _give_up(self, error: BaseException) -> None:
        """Take down what has been made; what broke the way up is told with its members' last words."""
        expected = isinstance(error, ControlError | RunFailed | OSError)
        words = self._last_words() if expected else ""
        self._undo.close()
        if expected:
            raise BringUpFailed(f"bring up the testbed: {error}{words}") from error

    def _log(self, member: Member) -> str:
        try:
            return self.engine.logs(member.name)
        except EngineError as exc:
            return f"(no log: {exc})\n"

    def _last_words(self) -> str:
        """The end of the log of every member that has ended, for the message."""
        if not self.members:
            return ""
        try:
            if self.failure_logs is not None:
                self.collect_logs(self.failure_logs)
            ended = self.engine.exited()
        except EngineError:
            return ""
        kept = f"\n  logs of all members: {self.failure_logs}" if self.failure_logs is not None else ""
        return "".join(self._words(self._named(ended), ended)) + kept

    def _named(self, names: Iterable[str]) -> list[Member]:
        return [member for member in self.members if member.name in set(names)]

    def _words(self, members: Iterable[Member], ended: Mapping[str, int]) -> Iterable[str]:
        for member in members:
            tail = "\n    ".join(self._log(member).strip().splitlines()[-LOG_TAIL_LINES:])
            yield f"\n  {member.name} ended with {ended[member.name]}:\n    {tail or '(wrote nothing)'}"


def attach(rundir: RunDir, choice: Choice, topology: Topology) -> Testbed:
    """A testbed that another process brought up, for its handles; it is never taken down by this."""
    bed = Testbed(
        choice=choice,
        topology=topology,
        dataplane=rundir.journal.dataplane,
        interception=Interception(rundir.journal.interception),
        suite=rundir.journal.suite,
        standing=True,
    )
    bed.rundir, bed.layout = rundir, rundir.layout
    bed.engine = choice.module.engine(rundir.run)
    bed.members = compose(topology, dataplanes.named(bed.dataplane), bed.layout)
    return bed
