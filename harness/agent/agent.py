"""The agent's state and what it does when asked: one method per operation of its control channel."""

from __future__ import annotations

import inspect
import os
import platform
import socket
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from harness.agent import netns, stray
from harness.agent.appliers import ApplyError
from harness.agent.delay.line import Line as DelayLine
from harness.agent.delay.line import LineError
from harness.agent.lane import Lane
from harness.agent.listening import Listening
from harness.agent.probe import APPLIER_ENV, probed
from harness.agent.rules import UnfitFiller, captured
from harness.agent.rules.counting import UPLINK
from harness.agent.rules.levels import UnknownLevel
from harness.agent.rules.model import RuleSet
from harness.agent.shared import named, shared
from harness.agent.sockets import NoSockets, tcp_sockets
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
    """One node's agent. Operations come one after another, from one thread.

    What is a lane's is asked for with the lane's number; `setup` says how many there are.
    """

    def __init__(self, node: str, *, workers: Workers, zds: Callable[[int], Path]) -> None:
        """Take the node's name, what works in namespaces, and where each lane's proxy connects (ZDS)."""
        self._name = node
        self._workers = workers
        self._zds_path = zds
        self._lanes: dict[int, Lane] = {}
        self._probe: Probe | None = None
        self._topology: Topology | None = None
        self._paths: Mapping[str, str] = {}
        self._wiring: Wiring | None = None
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
        for lane in self._lanes.values():
            lane.zds.close()

    def handlers(self) -> dict[str, Handler]:
        """Operation -> what answers it."""
        return {
            "hello": _answering(self.hello),
            "setup": _answering(self.setup),
            "capture": _answering(self.capture),
            "enrol": _answering(self.enrol),
            "withdraw": _answering(self.withdraw),
            "release": _answering(self.release),
            "zds": _answering(self.zds),
            "counters": _answering(self.counters),
            "conntrack-flush": _answering(self.conntrack_flush),
            "conntrack-dump": _answering(self.conntrack_dump),
            "listen": _answering(self.listen),
            "heard": _answering(self.heard),
            "stamp": _answering(self.stamp),
            "stamped": _answering(self.stamped),
            "attempt": _answering(self.attempt),
            "reach": _answering(self.reach),
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
        """Wire this node and its pods of all lanes, and with `underlay` the outside hosts. No rules yet.

        Called again, it keeps what is there and makes the rest. When it fails, what it made is removed.
        """
        begun = time.monotonic()
        self._topology = from_json(Path(topology).read_text(encoding="utf-8"))
        self._paths = dict(namespaces)
        self._wiring = wiring = Wiring(self._topology, self._node(), self._paths, underlay=underlay)
        missing = sorted({*wiring.kinds, UNDERLAY} - set(self._paths))
        if missing:
            raise Refused(f"setup of node {self._name}: no path for namespaces {', '.join(missing)}")
        for number in range(1, self._topology.lanes + 1):
            if number not in self._lanes:
                self._lanes[number] = Lane(zds=ZdsServer(self._zds_path(number)))
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

    def capture(self, lane: int, interception: str, filler_rules: int = 0) -> dict[str, Any]:
        """Bring every captured pod of a lane on the node to a level, and see that all members count.

        Counters of these pods' rules start again from 0; those of nodes and hosts go on.
        """
        begun = time.monotonic()
        of_lane, probe = self._lane(lane), self._probed()
        captured(interception, filler_rules=filler_rules)
        if probe.levels[interception]:
            raise Refused(
                f"interception level {interception!r} does not work in this kernel with {probe.applier}: "
                f"{probe.levels[interception]}",
                kind="unsupported",
            )
        of_lane.interception, of_lane.filler_rules = interception, filler_rules
        wanted = {pod.netns: of_lane.rules_of(pod) for pod in self._pods() if pod.lane == lane}
        for name, kind in self._wired().kinds.items():
            if kind is not Kind.POD and name not in self._carried:
                wanted[name] = shared(kind, self._known())
        self._bring(wanted)
        return {
            "seconds": time.monotonic() - begun,
            "applier": probe.applier,
            "namespaces": {
                name: {"digest": self._carried[name].digest, "rules": self._carried[name].rules}
                for name in self._namespaces([lane])
            },
        }

    def enrol(self, lane: int, pod: str) -> dict[str, Any]:
        """Hand a pod to its lane's proxy, its rules being there first."""
        begun = time.monotonic()
        of_lane, found = self._lane(lane), self._pod(lane, pod)
        if not of_lane.interception:
            raise Refused(f"enrol {pod} of lane {lane}: it has no rules yet; `capture` comes first")
        if not found.captured:
            raise Refused(f"enrol {pod} of lane {lane}: the topology says that it is not captured")
        if pod in of_lane.withdrawn:
            of_lane.withdrawn.discard(pod)
            self._bring({found.netns: of_lane.rules_of(found)})
        of_lane.zds.enrol(
            Enrolled(
                uid=found.uid,
                name=found.name,
                namespace=found.namespace,
                service_account=found.service_account,
                path=self._paths[found.netns],
            )
        )
        return {"seconds": time.monotonic() - begun}

    def withdraw(self, lane: int, pod: str) -> dict[str, Any]:
        """Take a pod from its lane's proxy, its rules being gone first."""
        begun = time.monotonic()
        of_lane, found = self._lane(lane), self._pod(lane, pod)
        of_lane.withdrawn.add(pod)
        if found.netns in self._carried:
            self._bring({found.netns: of_lane.rules_of(found)})
        of_lane.zds.withdraw(found.uid)
        return {"seconds": time.monotonic() - begun}

    def release(self, lane: int) -> dict[str, Any]:
        """Forget which pods a lane's proxy was handed: it has ended, and the next one starts with none."""
        of_lane = self._lane(lane)
        of_lane.zds.release()
        of_lane.withdrawn.clear()
        return {}

    def zds(self, lane: int) -> dict[str, Any]:
        """Who is connected to a lane's ZDS socket, what was answered, which pods are enrolled."""
        return dict(self._lane(lane).zds.status())

    def counters(self, lanes: list[int] | None = None) -> dict[str, Any]:
        """What the kernel counted in the namespaces of these lanes, or all, read at about the same time.

        Nodes, hosts and the underlay are every lane's. A rule there that counts for one lane says for which;
        stray frames are told by lane, 0 standing for links that all lanes share.
        """
        applier = self._probed().applier
        now = time.monotonic_ns()
        wiring = self._wired()
        wanted = {name: self._wanted.get(name, Wanted(rules=EMPTY)).rules for name in self._namespaces(lanes)}
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
                "lane": self._lane_of(name),
                "rules": named(rules, found.pop("lines")),
                "expected_digest": rules.digest,
                **found,
                "stray": self._stray(name),
            }
        return {"monotonic_ns": now, "namespaces": namespaces}

    def conntrack_flush(self, lanes: list[int] | None = None) -> dict[str, Any]:
        """Empty the connection tables of these lanes' pods, or all, and of nodes, hosts and the underlay."""
        self._everywhere("harness.agent.conntrack:flush", lanes)
        return {}

    def conntrack_dump(self, lanes: list[int] | None = None) -> dict[str, Any]:
        """The connection tables of the same namespaces, with the kernel's own count of each."""
        return {"namespaces": self._everywhere("harness.agent.conntrack:dump", lanes)}

    def listen(self) -> dict[str, Any]:
        """Keep the payload that arrives on the node's link to the others, until `heard`."""
        self._listening.listen(self._path(self._node().netns), UPLINK)
        return {}

    def heard(self, nonces: list[str]) -> dict[str, Any]:
        """Nonce -> how many frames with payload came since `listen`, how many of them hold it in clear."""
        return self._listening.heard(nonces)

    def stamp(self, lane: int, pod: str) -> dict[str, Any]:
        """Note when a pod's TCP frames pass on the link that its connections take, until `stamped`."""
        found = self._pod(lane, pod)
        link = LOOPBACK if self._lane(lane).diverts(found) else MEMBER_LINK
        self._listening.stamp(self._path(found.netns), link)
        return {"link": link}

    def stamped(self, ports: list[int]) -> dict[str, Any]:
        """Those times for connections from these local ports, and both clocks before and after."""
        return self._listening.stamped(ports)

    def attempt(self, lane: int, pod: str, address: str, port: int, nonce: str) -> dict[str, Any]:
        """Make one request out of a pod that runs no load, and say how it ended."""
        asked = {"address": address, "port": port, "nonce": nonce}
        work = self._wired().work(self._pod(lane, pod).netns, "harness.agent.attempt:attempt", **asked)
        seen: dict[str, Any] = self._workers.run([work])[0]
        return seen

    def sockets(self, namespace: str, family: socket.AddressFamily, count: int) -> list[socket.socket]:
        """Unconnected TCP sockets in a namespace of this agent's; called from any thread.

        Raises:
            NoSockets: It has no such namespace.
            OSError: The namespace is gone, or no further socket can be made.
        """
        kinds = self._wiring.kinds if self._wiring is not None else {}
        if namespace not in kinds:
            known = ", ".join(sorted(kinds)) or "none, for it is not wired yet"
            raise NoSockets(f"node {self._name} has no namespace {namespace!r}; known: {known}")
        return netns.inside(self._paths[namespace], partial(tcp_sockets, family, count))

    def reach(self, asked: list[dict[str, Any]]) -> dict[str, Any]:
        """Make round trips out of pods of the node, all at once, again until they succeed.

        Args:
            asked: `lane`, `pod`, and what `harness.agent.roundtrip:round_trips` takes; a pod at most once.

        Returns:
            `results`, in the order of `asked`: target -> `ok`, or what happened last.
        """
        works = []
        for each in asked:
            arguments = dict(each)
            pod = self._pod(arguments.pop("lane"), arguments.pop("pod"))
            works.append(self._wired().work(pod.netns, "harness.agent.roundtrip:round_trips", **arguments))
        return {"results": self._workers.run(works)}

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

    def _namespaces(self, lanes: Collection[int] | None) -> list[str]:
        """The shared namespaces of this agent, and those of these lanes' pods, or all."""
        others = {pod.netns for pod in self._pods() if lanes is not None and pod.lane not in lanes}
        return [name for name in self._wired().kinds if name not in others]

    def _everywhere(self, function: str, lanes: Collection[int] | None) -> dict[str, Any]:
        wiring, names = self._wired(), self._namespaces(lanes)
        results = self._workers.run([wiring.work(name, function) for name in names])
        return dict(zip(names, results, strict=True))

    def _stray(self, namespace: str) -> dict[str, int]:
        """Lane -> frames on the namespace's watched links that have no business there."""
        lanes = {interface(pod.netns): pod.lane for pod in self._pods()}
        found: Counter[str] = Counter()
        for (name, link), watch in self._watches.items():
            if name == namespace:
                found[str(self._lane_of(name) or lanes.get(link, 0))] += watch.count()
        return dict(found)

    def _lane_of(self, namespace: str) -> int:
        """The lane of the pod whose namespace it is; 0 for a namespace that all lanes share."""
        return next((pod.lane for pod in self._pods() if pod.netns == namespace), 0)

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
                links = [UPLINK, *(interface(pod.netns) for pod in self._pods())]
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

    def _lane(self, number: int) -> Lane:
        self._known()
        if number not in self._lanes:
            raise Refused(f"no lane {number} on node {self._name}; there are 1 to {len(self._lanes)}")
        return self._lanes[number]

    def _pods(self) -> tuple[Pod, ...]:
        return self._known().pods_on(self._name)

    def _pod(self, lane: int, name: str) -> Pod:
        self._lane(lane)
        pods = {pod.name: pod for pod in self._pods() if pod.lane == lane}
        if name not in pods:
            known = ", ".join(sorted(pods))
            raise Refused(f"no pod {name!r} of lane {lane} on node {self._name}; known: {known}")
        return pods[name]


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
