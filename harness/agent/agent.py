"""The agent's state and what it does when asked: one method per operation of its control channel."""

from __future__ import annotations

import inspect
import os
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.agent import netns, stray
from harness.agent.appliers import ApplyError, Line, own
from harness.agent.delay.line import Line as DelayLine
from harness.agent.delay.line import LineError
from harness.agent.listening import Listening
from harness.agent.probe import APPLIER_ENV, probed
from harness.agent.rules import MEMBER, UnfitFiller, captured, twinned
from harness.agent.rules.counting import NODE, UPLINK
from harness.agent.rules.levels import UnknownLevel
from harness.agent.rules.model import RuleSet
from harness.agent.sysctls import Kind
from harness.agent.wanted import Carried, Probe, Wanted
from harness.agent.wiring import MEMBER_LINK, UNDERLAY, Wiring, interface, mac
from harness.agent.workers import WorkError, Workers
from harness.agent.zds import Enrolled, ZdsError, ZdsServer
from harness.control import Handler, Refused, Reply
from harness.topology.allocator import TopologyError
from harness.topology.document import from_json
from harness.topology.model import Host, Node, Pod, Topology

LOOPBACK = "lo"
"""Where a captured connection goes: to the proxy, which listens in the pod."""

EMPTY = RuleSet(tables=())
"""What the underlay carries."""


class Agent:
    """One node's agent. Operations come one after another, from one thread."""

    def __init__(self, node: str, *, workers: Workers, zds: ZdsServer) -> None:
        self._name = node
        self._workers = workers
        self._zds = zds
        self._probe: Probe | None = None
        self._topology: Topology | None = None
        self._paths: Mapping[str, str] = {}
        self._wiring: Wiring | None = None
        self._interception = ""
        self._filler_rules = 0
        self._withdrawn: set[str] = set()
        self._wanted: dict[str, Wanted] = {}
        self._carried: dict[str, Carried] = {}
        self._watches: dict[tuple[str, str], stray.Watch] = {}
        self._listening = Listening()
        self._line: DelayLine | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listening.close()
        for watch in self._watches.values():
            watch.close()

    def handlers(self) -> dict[str, Handler]:
        """Operation -> what answers it."""
        return {
            "hello": _answering(self.hello),
            "setup": _answering(self.setup),
            "capture": _answering(self.capture),
            "enrol": _answering(self.enrol),
            "withdraw": _answering(self.withdraw),
            "zds": _answering(self._zds.status),
            "counters": _answering(self.counters),
            "conntrack-flush": _answering(self.conntrack_flush),
            "conntrack-dump": _answering(self.conntrack_dump),
            "listen": _answering(self.listen),
            "heard": _answering(self.heard),
            "stamp": _answering(self.stamp),
            "stamped": _answering(self.stamped),
            "attempt": _answering(self.attempt),
            "delay": _answering(self.delay),
            "delayed": _answering(self.delayed),
            "round-trips": _answering(self.round_trips),
        }

    def hello(self) -> dict[str, Any]:
        """Who answers, which applier it uses and why, which levels this kernel takes (empty: it does)."""
        probe = self._probed()
        return {
            "node": self._name,
            "pid": os.getpid(),
            "applier": probe.applier,
            "applier_why": probe.why,
            "kernel": {"release": platform.release(), "levels": dict(probe.levels)},
        }

    def setup(self, namespaces: Mapping[str, str], topology: str, underlay: bool = False) -> dict[str, Any]:
        """Wire this node and its pods, and with `underlay` the outside hosts. No rules yet.

        Called again, it keeps what is there and makes the rest. When it fails, what it made is removed.
        """
        begun = time.monotonic()
        self._topology = from_json(Path(topology).read_text(encoding="utf-8"))
        self._paths = dict(namespaces)
        self._wiring = wiring = Wiring(self._topology, self._node(), self._paths, underlay=underlay)
        missing = sorted({*wiring.kinds, UNDERLAY} - set(self._paths))
        if missing:
            raise Refused(f"setup of node {self._name}: no path for namespaces {', '.join(missing)}")
        settings = wiring.settings()
        sysctls = dict(zip((work.namespace for work in settings), self._workers.run(settings), strict=True))
        works = wiring.veths()
        made = self._workers.run(works)
        try:
            self._workers.run(wiring.reach())
            self._watch(wiring)
        except (WorkError, OSError):
            self._workers.run(
                [
                    wiring.work(work.namespace, "harness.agent.links:discard", names=names)
                    for work, names in zip(works, made, strict=True)
                ]
            )
            raise
        links = [
            {"namespace": work.namespace, "name": veth.name, "made": veth.name in names}
            for work, names in zip(works, made, strict=True)
            for veth in work.arguments["veths"]
        ]
        return {"links": links, "sysctls": sysctls, "seconds": time.monotonic() - begun}

    def capture(self, interception: str, filler_rules: int = 0) -> dict[str, Any]:
        """Bring every captured pod of the node to a level, and see that all members count.

        Counters of a pod's rules start again from 0; those of nodes and hosts go on.
        """
        begun = time.monotonic()
        probe = self._probed()
        captured(interception, filler_rules=filler_rules)
        if probe.levels[interception]:
            raise Refused(
                f"interception level {interception!r} does not work in this kernel with {probe.applier}: "
                f"{probe.levels[interception]}",
                kind="unsupported",
            )
        self._interception, self._filler_rules = interception, filler_rules
        wanted: dict[str, Wanted] = {}
        for name, kind in self._wired().kinds.items():
            if kind is Kind.POD:
                wanted[name] = self._of_pod(self._pod_in(name))
            elif name not in self._carried:
                wanted[name] = _counting(kind, ipv6=self._known().ipv6)
        self._bring(wanted)
        return {
            "seconds": time.monotonic() - begun,
            "applier": probe.applier,
            "namespaces": {
                name: {"digest": carried.digest, "rules": carried.rules}
                for name, carried in self._carried.items()
            },
        }

    def enrol(self, pod: str) -> dict[str, Any]:
        """Hand a pod to the proxy, its rules being there first."""
        begun = time.monotonic()
        found = self._pod(pod)
        if not self._interception:
            raise Refused(f"enrol {pod}: it has no rules yet; `capture` comes first")
        if not found.captured:
            raise Refused(f"enrol {pod}: the topology says that it is not captured")
        if pod in self._withdrawn:
            self._withdrawn.discard(pod)
            self._bring({found.netns: self._of_pod(found)})
        self._zds.enrol(
            Enrolled(
                uid=found.uid,
                name=found.name,
                namespace=found.namespace,
                service_account=found.service_account,
                path=self._paths[found.netns],
            )
        )
        return {"seconds": time.monotonic() - begun}

    def withdraw(self, pod: str) -> dict[str, Any]:
        """Take a pod from the proxy, its rules being gone first."""
        begun = time.monotonic()
        found = self._pod(pod)
        self._withdrawn.add(pod)
        if found.netns in self._carried:
            self._bring({found.netns: self._of_pod(found)})
        self._zds.withdraw(found.uid)
        return {"seconds": time.monotonic() - begun}

    def counters(self) -> dict[str, Any]:
        """What the kernel counted in every namespace of this agent, read at about the same time."""
        applier = self._probed().applier
        now = time.monotonic_ns()
        wiring = self._wired()
        wanted = {name: self._wanted.get(name, Wanted(rules=EMPTY)).rules for name in wiring.kinds}
        read = self._workers.run(
            [
                wiring.work(
                    name,
                    "harness.agent.counters:read",
                    applier=applier,
                    tables=[table.name for table in rules.tables],
                )
                for name, rules in wanted.items()
            ]
        )
        namespaces = {}
        for (name, rules), found in zip(wanted.items(), read, strict=True):
            namespaces[name] = {
                "kind": wiring.kinds[name].value,
                "rules": _named(rules, found.pop("lines")),
                "expected_digest": rules.digest,
                **found,
                "stray": sum(watch.count() for key, watch in self._watches.items() if key[0] == name),
            }
        return {"monotonic_ns": now, "namespaces": namespaces}

    def conntrack_flush(self) -> dict[str, Any]:
        """Empty the connection tables of every namespace of this agent."""
        self._everywhere("harness.agent.conntrack:flush")
        return {}

    def conntrack_dump(self) -> dict[str, Any]:
        """The connection tables of every namespace of this agent, with the kernel's own count of each."""
        return {"namespaces": self._everywhere("harness.agent.conntrack:dump")}

    def listen(self) -> dict[str, Any]:
        """Keep the payload that arrives on the node's link to the others, until `heard`."""
        self._listening.listen(self._path(self._node().netns), UPLINK)
        return {}

    def heard(self, nonce: str) -> dict[str, Any]:
        """How many frames with payload came since `listen`, and how many of these hold the nonce in clear."""
        return dict(self._listening.heard(nonce))

    def stamp(self, pod: str) -> dict[str, Any]:
        """Note when a pod's TCP frames pass on the link that its connections take, until `stamped`."""
        found = self._pod(pod)
        diverted = found.captured and self._interception != "none" and pod not in self._withdrawn
        link = LOOPBACK if diverted else MEMBER_LINK
        self._listening.stamp(self._path(found.netns), link)
        return {"link": link}

    def stamped(self, ports: list[int]) -> dict[str, Any]:
        """Those times for connections from these local ports, and both clocks before and after."""
        return self._listening.stamped(ports)

    def attempt(self, pod: str, address: str, port: int, nonce: str) -> dict[str, Any]:
        """Make one request out of a pod that runs no load, and say how it ended."""
        asked = {"address": address, "port": port, "nonce": nonce}
        work = self._wired().work(self._pod(pod).netns, "harness.agent.attempt:attempt", **asked)
        seen: dict[str, Any] = self._workers.run([work])[0]
        return seen

    def delay(self, rtt_ns: int) -> dict[str, Any]:
        """Let round trips over the underlay take longer by so much; 0: not at all. For who wired it."""
        if rtt_ns < 0:
            raise Refused(f"delay of {rtt_ns} ns: no answer comes before it was asked for", kind="arguments")
        self._delay_line().set(rtt_ns)
        return self.delayed()

    def delayed(self) -> dict[str, Any]:
        """What delays frames on the underlay, and what it carried since the last call."""
        return self._delay_line().take()

    def round_trips(self, to: str, count: int) -> dict[str, Any]:
        """Times of round trips from this node to another, or to an outside host."""
        topology, node = self._known(), self._node()
        members: tuple[Node | Host, ...] = (*topology.nodes, *topology.hosts)
        far = {each.name: each for each in members}
        if to not in far or to == node.name:
            known = ", ".join(sorted(set(far) - {node.name}))
            raise Refused(f"round trips from {node.name} to {to!r}: no way there; known: {known}")
        work = self._wired().work(
            node.netns,
            "harness.agent.delay.trips:round_trips",
            link=UPLINK,
            mac=mac(node.address),
            address=str(node.address),
            to_mac=mac(far[to].address),
            to_address=str(far[to].address),
            count=count,
        )
        return {"trips_ns": self._workers.run([work])[0]}

    def _delay_line(self) -> DelayLine:
        wiring = self._wired()
        if UNDERLAY not in wiring.kinds:
            raise Refused(f"node {self._name}'s agent did not wire the underlay; the first node's did")
        if self._line is None:
            self._line = DelayLine(wiring, self._workers, self._paths[UNDERLAY])
        return self._line

    def _everywhere(self, function: str) -> dict[str, Any]:
        wiring = self._wired()
        results = self._workers.run([wiring.work(name, function) for name in wiring.kinds])
        return dict(zip(wiring.kinds, results, strict=True))

    def _of_pod(self, pod: Pod) -> Wanted:
        """What a pod has to carry now."""
        ipv6 = pod.address6 is not None
        if pod.captured and pod.name not in self._withdrawn:
            return captured(self._interception, filler_rules=self._filler_rules, ipv6=ipv6)
        return captured("none", ipv6=ipv6)

    def _bring(self, wanted: Mapping[str, Wanted]) -> None:
        applier, wiring = self._probed().applier, self._wired()
        works = [
            wiring.work(name, "harness.agent.capture:bring", applier=applier, wanted=each)
            for name, each in wanted.items()
        ]
        # expected from now on, whatever comes of it: a failure must not look like the level before
        self._wanted.update(wanted)
        self._carried.update(zip(wanted, self._workers.run(works), strict=True))

    def _watch(self, wiring: Wiring) -> None:
        for name, kind in wiring.kinds.items():
            if kind is Kind.NODE:
                pods = self._known().pods_on(self._name)
                links = [UPLINK, *(interface("pod", pod.name) for pod in pods)]
            elif kind is Kind.UNDERLAY:
                continue
            else:
                links = [MEMBER_LINK]
            missing = [link for link in links if (name, link) not in self._watches]
            opened = netns.inside(self._paths[name], partial(_watches, missing, ipv6=self._known().ipv6))
            self._watches.update({(name, link): watch for link, watch in opened.items()})

    def _probed(self) -> Probe:
        ipv6 = self._topology is not None and self._topology.ipv6
        if self._probe is None or self._probe.ipv6 is not ipv6:
            self._probe = probed(self._workers, forced=os.environ.get(APPLIER_ENV, ""), ipv6=ipv6)
        return self._probe

    def _known(self) -> Topology:
        if self._topology is None:
            raise Refused(f"node {self._name} is not wired yet; `setup` comes first")
        return self._topology

    def _wired(self) -> Wiring:
        self._known()
        assert self._wiring is not None  # noqa: S101 - set where the topology is
        return self._wiring

    def _node(self) -> Node:
        try:
            return self._known().node(self._name)
        except KeyError:
            known = ", ".join(sorted(node.name for node in self._known().nodes))
            raise Refused(f"the topology has no node {self._name!r}; known: {known}") from None

    def _path(self, namespace: str) -> str:
        self._wired()
        return self._paths[namespace]

    def _pod(self, name: str) -> Pod:
        pods = {pod.name: pod for pod in self._known().pods_on(self._name)}
        if name not in pods:
            raise Refused(f"no pod {name!r} on node {self._name}; known: {', '.join(sorted(pods))}")
        return pods[name]

    def _pod_in(self, namespace: str) -> Pod:
        return next(pod for pod in self._known().pods_on(self._name) if pod.netns == namespace)


def _counting(kind: Kind, *, ipv6: bool) -> Wanted:
    wanted = Wanted(rules={Kind.NODE: NODE, Kind.HOST: MEMBER}.get(kind, EMPTY))
    return twinned(wanted) if ipv6 else wanted


def _named(rules: RuleSet, lines: list[Line]) -> list[dict[str, Any]]:
    names = {(table, chain, text): name for table, chain, name, text in rules.lines()}
    return [
        {
            "table": line.table,
            "chain": line.chain,
            "rule": names.get((line.table, line.chain, line.text), "changed" if own(line) else "foreign"),
            "packets": line.packets,
            "bytes": line.bytes,
        }
        for line in lines
    ]


def _watches(links: list[str], *, ipv6: bool) -> dict[str, stray.Watch]:
    with ExitStack() as undo:
        opened: dict[str, stray.Watch] = {}
        for link in links:
            opened[link] = stray.open_watch(link, ipv6=ipv6)
            undo.callback(opened[link].close)
        undo.pop_all()
        return opened


def _answering(operation: Callable[..., dict[str, Any]]) -> Handler:
    def answer(arguments: dict[str, Any]) -> Reply:
        try:
            inspect.signature(operation).bind(**arguments)
        except TypeError as exc:
            raise Refused(f"{operation.__name__}: {exc}", kind="arguments") from exc
        try:
            return Reply(document=operation(**arguments))
        except (TopologyError, UnknownLevel, UnfitFiller) as exc:
            raise Refused(str(exc)) from exc
        except (ApplyError, WorkError, LineError) as exc:
            raise Refused(str(exc), kind="environment") from exc
        except ZdsError as exc:
            raise Refused(str(exc), kind=type(exc).__name__.lower()) from exc

    return answer
