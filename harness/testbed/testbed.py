"""Bring a testbed up, hand out handles, place its lanes, take it down.

Order of the way up: folder and journal, all processes at once, links (the first node's agent makes
the underlay, the others follow together), rules, enrolment, then a real round trip to every pod.
A lane is brought to another placement the same way, from its proxies' start on.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.control import Channel, ControlError, Reply
from harness.engines.api import Engine, EngineError, Member, Role
from harness.engines.choice import Choice
from harness.errors import RunFailed, UsageError
from harness.interrupts import uninterrupted
from harness.testbed import ready
from harness.testbed.channels import Channels, ask, in_turn
from harness.testbed.cpus import CpuSets, cpu_sets
from harness.testbed.lane import Lane
from harness.testbed.members import compose, proxies, wired
from harness.testbed.placement import Placement
from harness.testbed.rundir import RunDir, State
from harness.topology.document import to_json
from harness.topology.layout import Layout
from harness.topology.model import Topology

log = logging.getLogger("harness.testbed")

EXIT_WAIT_S = 1.0
EXIT_LOOK_S = 0.02
LOG_TAIL_LINES = 8


class BringUpFailed(RunFailed):
    """The testbed did not come up; the message says at which step, and what members that ended wrote."""


class PlacingFailed(RunFailed):
    """Lanes did not come to their placements; the message says at which step, as of a bring-up."""


@dataclass(slots=True, kw_only=True)
class Testbed:
    """A running testbed. Use as a context manager; leaving it takes everything down.

    `topology`, `layout`, `engine` and `members` are for reading; channels open when first used.
    """

    choice: Choice
    topology: Topology
    placements: tuple[Placement, ...]
    """What each lane carries when it has come up, the first lane first."""
    suite: str = ""
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
    _images: set[str] = field(init=False, default_factory=set)
    _channels: Channels = field(init=False)
    _lanes: tuple[Lane, ...] = field(init=False, default=())
    _undo: ExitStack = field(init=False, default_factory=ExitStack)

    def __post_init__(self) -> None:
        """Check that there is a placement for each lane.

        Raises:
            UsageError: There are more or fewer.
        """
        if len(self.placements) != self.topology.lanes:
            raise UsageError(
                f"a topology of {self.topology.lanes} lanes with {len(self.placements)} placements: "
                "each lane needs one"
            )
        self._channels = Channels(self.exited)

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
        self._channels.close()
        if self.standing and kind is None:
            self._undo.pop_all()
        else:
            self._undo.close()

    @property
    def run_id(self) -> str:
        """The run's id, part of every name that was made."""
        return self.rundir.journal.run_id

    def describe(self) -> dict[str, Any]:
        """Every member: what it is for, what it runs, from which files, with which capabilities and why."""
        pids = self.engine.pids()
        return {
            member.name: {
                "role": member.role.value,
                "node": member.node,
                "lane": member.lane,
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
        members = compose(self.topology, self.placements, self.layout)
        return tuple(map(self.cpu_sets.bound, members))

    def wanted_proxies(self, number: int, placement: Placement) -> tuple[Member, ...]:
        """The processes that carry a lane at a placement."""
        return tuple(map(self.cpu_sets.bound, proxies(self.topology, number, placement, self.layout)))

    @property
    def cpu_sets(self) -> CpuSets:
        """Which cores each role has to itself on this machine, if there are enough."""
        return cpu_sets(sorted(os.sched_getaffinity(0)), [node.name for node in self.topology.nodes])

    # Handles

    def lane(self, number: int) -> Lane:
        """The handle on a lane.

        Raises:
            LookupError: There is no such lane.
        """
        if not 1 <= number <= len(self._lanes):
            raise LookupError(f"there is no lane {number}: the testbed has lanes 1 to {len(self._lanes)}")
        return self._lanes[number - 1]

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """The handles on all lanes, the first lane's first."""
        return self._lanes

    def agent(self, node: str) -> Channel:
        """The control channel to a node's agent."""
        return self._channels.to(self.layout.agent(node))

    def probe(self) -> Channel:
        """The control channel to the first-packet probe."""
        return self._channels.to(self.layout.probe)

    def locust(self) -> Channel:
        """The control channel to the Locust process."""
        return self._channels.to(self.layout.locust)

    def agents(self) -> dict[str, Channel]:
        """The control channels to all agents, by node."""
        return {node.name: self.agent(node.name) for node in self.topology.nodes}

    def ask_agents(self, op: str, /, **arguments: object) -> dict[str, Reply]:
        """Ask every agent the same at the same time; node -> answer."""
        return ask(self.agents(), op, **arguments)

    def ask_lanes(
        self, numbers: Iterable[int], op: str, /, **arguments: object
    ) -> dict[int, dict[str, Reply]]:
        """Ask the proxies of several lanes the same at the same time; lane -> node -> answer."""
        channels = {
            (number, node): channel
            for number in numbers
            for node, channel in self.lane(number).proxies().items()
        }
        answers: dict[int, dict[str, Reply]] = {}
        for (number, node), reply in ask(channels, op, **arguments).items():
            answers.setdefault(number, {})[node] = reply
        return answers

    def place(self, placements: Mapping[int, Placement]) -> None:
        """Bring lanes to placements, each with proxies that are started anew; no other lane is disturbed.

        The lanes' old proxies are killed: nothing may be under way there. Synthetic policies go with them.

        Args:
            placements: Lane's number -> what it is to carry.

        Raises:
            LookupError: There is no such lane.
            PlacingFailed: A step failed; these lanes have to be placed again, the others can be used.
        """
        lanes = [self.lane(number) for number in placements]
        try:
            leaving = [member.name for member in self._carrying(placements)]
            coming = [
                member
                for lane in lanes
                for member in self.wanted_proxies(lane.number, placements[lane.number])
            ]
            self._prepare(coming)
            self.engine.stop(leaving)
            self.members = (*(each for each in self.members if each.name not in leaving), *coming)
            for lane in lanes:
                lane.forget_proxies()
                lane.begin(placements[lane.number])
            with ThreadPoolExecutor(1, thread_name_prefix="proxies") as pool:
                starting = pool.submit(self.engine.start, coming)
                in_turn([request for lane in lanes for request in lane.releases()])
                self._capture(lanes)
                starting.result()
            self._carry(lanes)
            ready.check([lane.topology for lane in lanes], self.agent)
        except (ControlError, RunFailed, OSError) as exc:
            words = self._last_words()
            self._forget_those_not_started()
            numbers = ", ".join(map(str, placements))
            raise PlacingFailed(f"place lane {numbers}: {exc}{words}") from exc
        self.rundir = self.rundir.carrying([lane.placement.document() for lane in self._lanes])

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
            lanes=[placement.document() for placement in self.placements],
        )
        undo.callback(self.rundir.remove)
        self.layout = self.rundir.layout
        self.engine = self.choice.module.engine(self.rundir.run)
        self._lanes = tuple(
            Lane(number, self.topology, self.layout, self._channels, placement)
            for number, placement in enumerate(self.placements, start=1)
        )
        members = self.wanted_members()
        self._stage("images", lambda: self._prepare(members))
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
        self._stage("rules", lambda: self._capture(self._lanes))
        self._stage("enrolment", lambda: self._carry(self._lanes))
        self._stage("load", self._await_load)
        views = [lane.topology for lane in self._lanes]
        self._stage("round trips", lambda: ready.check(views, self.agent))
        if self.standing:
            self.engine.detach()
        self.rundir = self.rundir.marked(State.STANDING if self.standing else State.MEASURING)

    def _stage(self, name: str, work: Callable[[], object]) -> None:
        begin = time.monotonic()
        log.info("stage started name=%s", name)
        work()
        self.stages_s[name] = time.monotonic() - begin
        log.info("stage complete name=%s seconds=%.2f", name, self.stages_s[name])

    def _prepare(self, members: Iterable[Member]) -> None:
        """Make ready the images of these members, those that are not yet."""
        missing = {member.image for member in members} - self._images
        if missing:
            self.engine.prepare(self.told, missing)
        self._images |= missing

    def _write_files(self) -> None:
        for folder in self.layout.folders(self.topology):
            folder.mkdir(parents=True, mode=0o700, exist_ok=True)
        self.layout.topology.write_text(to_json(self.topology))
        for lane in self._lanes:
            lane.begin(lane.placement)

    def _wire(self, early: Iterable[Member]) -> None:
        namespaces = sorted({member.namespace for member in early})
        paths = {name: self.engine.namespace_path(name) for name in namespaces}
        topology = str(self.layout.topology)
        first, *others = (node.name for node in self.topology.nodes)
        self.agent(first).call("setup", namespaces=paths, topology=topology, underlay=True)
        rest = {node: self.agent(node) for node in others}
        ask(rest, "setup", namespaces=paths, topology=topology, underlay=False)

    def _capture(self, lanes: Iterable[Lane]) -> None:
        """Have the rules of these lanes' placements written."""
        in_turn([request for lane in lanes for request in lane.captures()])

    def _carry(self, lanes: Collection[Lane]) -> None:
        """Await these lanes' proxies, and hand them their pods; the rules are there already."""
        for lane in lanes:
            lane.proxies()
        in_turn([request for lane in lanes for request in lane.enrolments()])

    def _carrying(self, lanes: Collection[int]) -> list[Member]:
        """Members that carry these lanes: what `place` starts anew."""
        return [
            each for each in self.members if each.lane in lanes and each.role in {Role.ZTUNNEL, Role.HELPER}
        ]

    def _forget_those_not_started(self) -> None:
        """Leave out of `members` what a start that failed did not come to, so that it can be tried again."""
        with suppress(EngineError):
            there = {*self.engine.pids(), *self.engine.exited()}
            self.members = tuple(member for member in self.members if member.name in there)

    def _await_load(self) -> None:
        self.probe()
        self.locust()

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
