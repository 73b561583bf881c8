"""Honest evidence, made by walking each connection through the testbed and counting what it meets.

It knows the rules and the proxies, and nothing of the checks' formulas: counters grow one connection
and one tunnel at a time, as they do in the kernel.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from itertools import count
from typing import Any

from harness.evidence.case import Case
from harness.evidence.model import FirstPacket, SampleCounts
from harness.evidence.sources import (
    answers,
    canary,
    clock,
    conntrack,
    cpu,
    delay,
    generator,
    host,
    nonces,
    refusal,
    rules,
    sockets,
    starts,
    tunnels,
    turns,
    wire,
)
from harness.plan.model import Configuration, Interception, Path, Reuse, SameNode, State
from harness.tests.evidence.journals import made_up
from harness.topology.model import APP_PORT, SOURCE_PORT, Host, IpFamily, Node, Pod, Topology


def _pod(name: str, node: str, address: str, *, captured: bool = True, client: bool = False) -> Pod:
    return Pod(
        name=name,
        node=node,
        address=IPv4Address(address),
        namespace="bench",
        service_account=name,
        captured=captured,
        client=client,
        address6=IPv6Address(f"fd00:10:244::{address.rpartition('.')[2]}"),
    )


TOPOLOGY = Topology(
    nodes=(
        Node(
            name="a",
            address=IPv4Address("172.30.0.11"),
            pod_subnets=(IPv4Network("10.244.0.0/24"),),
            gateway=IPv4Address("10.244.0.1"),
        ),
        Node(
            name="b",
            address=IPv4Address("172.30.0.12"),
            pod_subnets=(IPv4Network("10.244.1.0/24"),),
            gateway=IPv4Address("10.244.1.1"),
        ),
    ),
    pods=(
        _pod("client", "a", "10.244.0.2", client=True),
        _pod("local", "a", "10.244.0.3"),
        _pod("remote", "b", "10.244.1.2"),
        _pod("plain", "b", "10.244.1.3", captured=False, client=True),
    ),
    hosts=(
        Host(name="outside", address=IPv4Address("172.30.0.100"), address6=IPv6Address("fd00:172:30::64")),
    ),
    policies=(),
    underlay=IPv4Network("172.30.0.0/24"),
    underlay_prefix=24,
    underlay6=IPv6Network("fd00:172:30::/64"),
)

PATHS = {
    Path.SAME_NODE: ("client", "local"),
    Path.CROSS_NODE: ("client", "remote"),
    Path.OUT_OF_MESH: ("client", "outside"),
    Path.INTO_MESH: ("plain", "local"),
}

PROBES = 3
LATER = 2
RATE_CONNECTIONS, RATE_ROWS = 2, 20
REQUESTS_CONNECTIONS, REQUESTS_ROWS = 4, 400
STREAMS, TRANSFER_ROWS = 2, 8
IN_TURNS = {"own": 40, "overlap_ns": 0, "places": [20, 20]}
"""Blocks of two lanes."""
PACKETS = 6
"""What an app sends on a connection here."""
PAYLOADS = 2
"""Frames with payload that arrive at either node of it; the first holds the nonce."""

TUNED: list[dict[str, Any]] = [
    *({"streams_per_tunnel": most} for most in (1, 3, 10)),
    *({"window_kib": size} for size in (64, 16_384)),
    *({"policies": count} for count in (100, 10_000)),
]

CONFIGURATIONS = [
    *(Configuration(path=path, dataplane="none", interception=Interception.NONE) for path in PATHS),
    *(
        Configuration(path=path, dataplane="pyztunnel", interception=level, reuse=reuse)
        for path in PATHS
        for level in (Interception.REDIRECT, Interception.TPROXY, Interception.TPROXY_NOTRACK)
        for reuse in Reuse
    ),
    *(
        Configuration(
            path=Path.SAME_NODE, dataplane="pyztunnel", interception=level, same_node=SameNode.PLAINTEXT
        )
        for level in (Interception.REDIRECT, Interception.TPROXY_NOTRACK)
    ),
    *(
        Configuration(path=path, dataplane="pyztunnel", interception=level, ip_family=IpFamily.IPV6)
        for path in PATHS
        for level in (Interception.REDIRECT, Interception.TPROXY, Interception.TPROXY_NOTRACK)
    ),
    Configuration(
        path=Path.CROSS_NODE, dataplane="none", interception=Interception.NONE, ip_family=IpFamily.IPV6
    ),
    *(
        replace(Configuration(path=path, dataplane="pyztunnel", interception=Interception.REDIRECT), **tuning)
        for path in (Path.SAME_NODE, Path.CROSS_NODE)
        for tuning in TUNED
    ),
    Configuration(path=Path.CROSS_NODE, dataplane="none", interception=Interception.NONE, rtt_ms=4),
    *(
        Configuration(path=path, dataplane="pyztunnel", interception=level, rtt_ms=16)
        for path in (Path.CROSS_NODE, Path.OUT_OF_MESH)
        for level in (Interception.REDIRECT, Interception.TPROXY_NOTRACK)
    ),
]


@dataclass
class Walk:
    """A cell's counters, while its connections are walked."""

    configuration: Configuration
    hits: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """(namespace, chain, rule) -> packets."""
    stats: dict[str, Counter[str]] = field(default_factory=lambda: {"a": Counter(), "b": Counter()})
    entries: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    heard: dict[str, dict[str, int]] = field(
        default_factory=lambda: {node: {"frames": 0, "hits": 0, "unkept": 0} for node in "ab"}
    )
    """Node -> what came over its link."""
    pool: int = 0
    """Tunnels that may be used again."""
    held: int = 0
    """Streams on them, of connections that have not ended."""
    ports: Any = field(default_factory=lambda: count(40000))

    def __post_init__(self) -> None:
        source, target = PATHS[self.configuration.path]
        self.client, self.target = TOPOLOGY.member(source), TOPOLOGY.member(target)
        self.level = self.configuration.interception
        self.source_node = self.client.node if isinstance(self.client, Pod) else None
        self.target_node = self.target.node if isinstance(self.target, Pod) else None

    def connect(self, port: int = APP_PORT) -> None:
        """One connection of the app, with a request, to its end."""
        mine = next(self.ports)
        self._syn(self.client.netns, rules.SENT)
        if not self._captured(self.client):
            self._arrive(mine, port)
            return
        self._syn(self.client.netns, rules.ARRIVED)  # round through lo
        proxy = self.stats[str(self.source_node)]
        if self.level is Interception.REDIRECT:
            self._hit(self.client, "redirect-outbound", 1)
            self._track(self.client, mine, port, rewritten=15001)
        else:
            self._hit(self.client, "mark-outbound", PACKETS)
            self._hit(self.client, "tproxy-outbound", PACKETS)
            self._track(self.client, mine, port)
        proxy["accepted_outbound"] += 1
        proxy["route_resolutions"] += 1
        if self.configuration.tunnelled:
            self._stream(port)
            proxy["completed_outbound_hbone"] += 1
        elif self.configuration.same_node is SameNode.PLAINTEXT:  # from pod to pod inside the proxy
            proxy["policy_evaluations"] += 1
            self._leg_to_app(port)
            proxy["completed_outbound_passthrough"] += 1
        else:
            own = next(self.ports)
            self._syn(self.client.netns, rules.SENT)
            self._track(self.client, own, port)
            self._arrive(own, port)
            proxy["completed_outbound_passthrough"] += 1

    def end(self) -> None:
        """All connections that live have ended."""
        self.held = 0

    def drop_tunnels(self) -> None:
        """What a cold probe does first."""
        self.pool = 0

    def _stream(self, port: int) -> None:
        full = self.held >= self.pool * self.configuration.streams_per_tunnel
        if full or self.configuration.reuse is not Reuse.ON:
            self._tunnel()
        self.held += 1
        self.stats[str(self.source_node)]["streams_opened"] += 1
        inbound = self.stats[str(self.target_node)]
        inbound["connects_received"] += 1
        inbound["connects_accepted"] += 1
        inbound["policy_evaluations"] += 1
        self._wire("hbone")
        self._leg_to_app(port)

    def _tunnel(self) -> None:
        self.pool += 1
        mine = next(self.ports)
        self._syn(self.client.netns, rules.SENT)
        self._track(self.client, mine, 15008)
        self._syn(self.target.netns, rules.ARRIVED)
        self._track(self.target, mine, 15008)
        outbound, inbound = self.stats[str(self.source_node)], self.stats[str(self.target_node)]
        outbound["tunnels_opened"] += 1
        outbound["tls_handshakes_client"] += 1
        inbound["accepted_inbound"] += 1
        inbound["tls_handshakes_server"] += 1

    def _arrive(self, source_port: int, port: int) -> None:
        """A plaintext connection at the target."""
        self._wire("app")
        self._syn(self.target.netns, rules.ARRIVED)
        if not self._captured(self.target):
            return
        if self.level is Interception.REDIRECT:
            self._hit(self.target, "redirect-inbound", 1)
            self._track(self.target, source_port, port, rewritten=15006)
        else:
            self._hit(self.target, "tproxy-inbound", 1)
            self._track(self.target, source_port, port)
        self.stats[str(self.target_node)]["accepted_inbound_plaintext"] += 1
        self.stats[str(self.target_node)]["policy_evaluations"] += 1
        self._leg_to_app(port)

    def _leg_to_app(self, port: int) -> None:
        self._syn(self.target.netns, rules.SENT)
        self._syn(self.target.netns, rules.ARRIVED)
        self._track(self.target, next(self.ports), port)

    def _captured(self, member: Pod | Host) -> bool:
        return self.configuration.dataplane != "none" and isinstance(member, Pod) and member.captured

    def _syn(self, namespace: str, chain: str) -> None:
        self.hits[namespace, chain, "count-syn"] += 1
        self.hits[namespace, chain, "count-tcp"] += PACKETS
        if chain == rules.SENT and self.configuration.filler_rules:
            walks = 1 if self.level is Interception.REDIRECT else PACKETS  # nat once, mangle always
            self.hits[namespace, "OUTPUT", "jump-filler"] += walks

    def _hit(self, member: Pod | Host, rule: str, packets: int) -> None:
        self.hits[member.netns, "ISTIO", rule] += packets

    def _wire(self, kind: str) -> None:
        if self.source_node == self.target_node:
            return
        for node in (self.source_node, self.target_node):
            if node is not None:
                self.heard[node]["frames"] += PAYLOADS
                self.heard[node]["hits"] += 1 if kind == "app" else 0
                self.hits[f"node-{node}", "BENCH_WIRE", f"wire-{kind}-dport"] += PACKETS
                self.hits[f"node-{node}", "BENCH_WIRE", f"wire-{kind}-sport"] += PACKETS

    def _track(self, member: Pod | Host, source_port: int, port: int, rewritten: int = 0) -> None:
        if not self.level.conntrack:
            return
        family = self.configuration.ip_family
        client, target = (str(end.address_of(family)) for end in (self.client, self.target))
        own = "127.0.0.1" if family is IpFamily.IPV4 else "::1"
        reply = (own, rewritten) if rewritten else (target, port)
        self.entries.setdefault(member.netns, []).append(
            {
                "src": client,
                "sport": source_port,
                "dst": target,
                "dport": port,
                "reply_src": reply[0],
                "reply_sport": reply[1],
                "reply_dst": client,
                "reply_dport": source_port,
                "state": "TIME_WAIT",
                "mark": 0,
            }
        )


RULES = (
    ("nat", "ISTIO", "redirect-outbound"),
    ("nat", "ISTIO", "redirect-inbound"),
    ("mangle", "ISTIO", "mark-outbound"),
    ("mangle", "ISTIO", "tproxy-outbound"),
    ("mangle", "ISTIO", "tproxy-inbound"),
    *(
        ("mangle", chain, rule)
        for chain in (rules.SENT, rules.ARRIVED)
        for rule in ("count-syn", "count-tcp")
    ),
    ("mangle", "OUTPUT", "jump-filler"),
)
WIRE_RULES = tuple(
    ("mangle", "BENCH_WIRE", f"wire-{kind}")
    for kind in ("hbone-dport", "hbone-sport", "app-dport", "app-sport", "other")
)
STATS = (
    *("accepted_outbound", "accepted_inbound", "accepted_inbound_plaintext"),
    *(f"completed_outbound_{kind}" for kind in ("hbone", "passthrough", "denied", "failed")),
    *("tunnels_opened", "tunnels_closed", "tunnels_outbound", "tunnels_inbound", "streams_opened"),
    *(f"connects_{kind}" for kind in ("received", "accepted", "denied", "failed")),
    *("tls_handshakes_client", "tls_handshakes_server", "tls_resumptions"),
    *("policy_evaluations", "route_resolutions"),
)
NETSTAT = (
    "TcpExt.ListenDrops",
    "TcpExt.ListenOverflows",
    "TcpExt.TCPFastOpenActive",
    "TcpExt.TCPFastOpenPassive",
    "TcpExt.TCPSynRetrans",
    "Tcp.RetransSegs",
)
EARLIER = 1000
"""What every counter stood at when the cell began: nothing may depend on counting from zero."""


def _counters(hits: Counter[tuple[str, str, str]], family: IpFamily) -> dict[str, Any]:
    found = {}
    carrying = "6" if family is IpFamily.IPV6 else ""
    for kind, members in (("node", TOPOLOGY.nodes), ("pod", TOPOLOGY.pods), ("host", TOPOLOGY.hosts)):
        for member in members:
            name = member.netns
            found[name] = {
                "kind": kind,
                "rules": [
                    {
                        "table": table + suffix,
                        "chain": chain,
                        "rule": rule,
                        "packets": EARLIER + (hits[name, chain, rule] if suffix == carrying else 0),
                        "bytes": 0,
                    }
                    for suffix in ("", "6")
                    for table, chain, rule in (WIRE_RULES if kind == "node" else RULES)
                ],
                "digest": f"digest-of-{name}",
                "expected_digest": f"digest-of-{name}",
                "conntrack": 0,
                "netstat": dict.fromkeys(NETSTAT, EARLIER),
                "links": {},
                "stray": EARLIER,
            }
    found["underlay"] = {
        "kind": "underlay",
        "rules": [],
        "digest": "",
        "expected_digest": "",
        "conntrack": 0,
        "netstat": dict.fromkeys(NETSTAT, EARLIER),
        "links": {},
        "stray": EARLIER,
    }
    return found


def _stats(stats: dict[str, Counter[str]], configuration: Configuration) -> dict[str, Any]:
    gauges = ("tunnels_outbound", "tunnels_inbound")
    return {
        node: {
            **{name: counts[name] + (0 if name in gauges else EARLIER) for name in STATS},
            "loop": "asyncio",
            "reuse": "on",
            "same_node": "hbone",
            "streams_per_tunnel": configuration.streams_per_tunnel,
            "window_kib": configuration.window_kib,
            "mesh_version": 3,
            "policies": len(TOPOLOGY.policies) + (configuration.policies and configuration.policies + 1),
        }
        for node, counts in stats.items()
    }


def moment(monotonic_ns: int) -> dict[str, Any]:
    """A quiet machine."""
    return {
        "monotonic_ns": monotonic_ns,
        "boottime_ns": monotonic_ns + 4000,
        "ticks": {"user": monotonic_ns // 10**8, "system": 5, "idle": monotonic_ns // 10**8, "steal": 7},
        "load_1": 0.5,
        "throttled": None,
        "cpu_pressure_us": 12,
        "memory_pressure_us": 0,
        "io_pressure_us": 3,
        "reference_ns": 82_000,
    }


CPU_S = {"probe": 3.0e-3, "rate": 0.4e-3, "requests": 0.1e-3, "transfer": 20e-3}
"""What a component uses for a row of a stage here, seconds."""
FIRST_S = {State.COLD: 9e-3, State.WARM: 4e-3, State.NEW: 3e-3}
"""What the proxies use for a first packet here, seconds, later requests not included."""
CONTROL_S = 0.3e-3
SWITCHES = 2
"""A component's context switches for a row."""


def metered(walk: Walk, rows: dict[str, int]) -> dict[str, Any]:
    """What the components used: so much a row, and so much a first packet."""
    proxies = {node for node in (walk.source_node, walk.target_node) if node is not None}
    named = [cpu.Component.GENERATOR, cpu.Component.BACKEND]
    if walk._captured(walk.client) or walk._captured(walk.target):
        both = walk._captured(walk.client) and walk._captured(walk.target)
        if both and len(proxies) == 1:
            named.append(cpu.Component.PROXY_OF_BOTH)
        else:
            named += [
                component
                for component, end in (
                    (cpu.Component.SOURCE_PROXY, walk.client),
                    (cpu.Component.DESTINATION_PROXY, walk.target),
                )
                if walk._captured(end)
            ]
    count = sum(component.proxy for component in named)
    later_s, later_switches = count * CPU_S["rate"], count * SWITCHES
    first = {
        state.value: {
            "probes": PROBES,
            "cpu_ns": round(PROBES * (FIRST_S[state] + CONTROL_S + LATER * later_s) * 1e9),
            "switches": PROBES * (9 + 1 + LATER * later_switches),
        }
        for state in walk.configuration.states
        if state in FIRST_S
    }
    control = {"control": {"probes": 4, "cpu_ns": round(4 * CONTROL_S * 1e9), "switches": 4}}
    return cpu.collect(
        {
            stage: (_reading(named, 0, 0), _reading(named, count_, round(CPU_S[stage] * 1e9)))
            for stage, count_ in rows.items()
        },
        {**first, **control} if walk.configuration.dataplane != "none" else control,
    )


def _reading(named: list[cpu.Component], rows: int, each_ns: int) -> dict[str, Any]:
    """Everything at once after so many rows."""
    used = EARLIER + rows * each_ns
    return {
        "ticks": {"user": 10 + rows * len(named), "idle": 1000, "softirq": 3},
        "components": {
            component.value: {
                "cpu_ns": used,
                "user_ticks": EARLIER + rows,
                "system_ticks": EARLIER + rows,
                "voluntary": EARLIER + rows * SWITCHES,
                "involuntary": EARLIER,
                "waited_ns": EARLIER + rows,
                "rss_bytes": 60_000_000,
                "peak_bytes": 70_000_000,
            }
            for component in named
        },
    }


def honest(configuration: Configuration) -> Case:
    """A cell in which everything went as it should."""
    walk = Walk(configuration)
    family = configuration.ip_family
    before, stats_before = _counters(walk.hits, family), _stats(walk.stats, configuration)
    wishes = [state for state in configuration.states if state is not State.STEADY]
    primed = State.WARM in wishes
    if primed:
        walk.connect()
        walk.end()
    for _ in range(PROBES):
        for state in wishes:
            if state is State.COLD:
                walk.drop_tunnels()
            walk.connect()
            walk.end()
    stats_probed, heard = _stats(walk.stats, configuration), copy.deepcopy(walk.heard)
    for connections in (RATE_CONNECTIONS, REQUESTS_CONNECTIONS):
        for _ in range(connections):
            walk.connect()
        walk.end()
    for _ in range(STREAMS):
        walk.connect(SOURCE_PORT)
    walk.end()
    after, stats_after = _counters(walk.hits, family), _stats(walk.stats, configuration)

    probes = PROBES * len(wishes)
    rows = {
        "probe": probes * (1 + LATER),
        "rate": RATE_ROWS,
        "requests": REQUESTS_ROWS,
        "transfer": TRANSFER_ROWS,
    }
    states = [{"state": state.value, "count": PROBES, "op": "nothing"} for state in wishes]
    health = {"elapsed_ns": 10**9, "cpu_ns": 4 * 10**8, "lag_p99_ns": 10**5}
    stages: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "probe": (
            {"states": states, "later_requests": LATER},
            {
                **_replied(walk, rows["probe"], rows["probe"] + primed, probes + primed),
                **health,
                "residual_tunnels": [],
                "waited_ns": 10**7,
            },
        ),
        "rate": (
            {"connections": RATE_CONNECTIONS, "rate_hz": 20},
            {
                **_replied(walk, RATE_ROWS, RATE_ROWS + RATE_CONNECTIONS, RATE_CONNECTIONS),
                **health,
                "among": IN_TURNS,
                "scheduled": RATE_ROWS,
                "locust": {"requests": RATE_ROWS},
            },
        ),
        "requests": (
            {"connections": REQUESTS_CONNECTIONS, "rate_hz": 0},
            {
                **_replied(walk, REQUESTS_ROWS, REQUESTS_ROWS + REQUESTS_CONNECTIONS, REQUESTS_CONNECTIONS),
                **health,
                "among": IN_TURNS,
                "scheduled": 0,
                "locust": {"requests": REQUESTS_ROWS},
            },
        ),
        "transfer": (
            {"streams": STREAMS},
            {**_replied(walk, TRANSFER_ROWS, 300, STREAMS), "answers": {}, **health, "among": IN_TURNS},
        ),
    }
    packets = tuple(
        _first_packet(state.value, number)
        for number, state in enumerate(state for _ in range(PROBES) for state in wishes)
    )
    dump = {
        name: {"entries": entries, "others": 0, "counted": len(entries)}
        for name in before
        for entries in (walk.entries.get(name, []),)
    }
    return Case(
        configuration=configuration,
        topology=TOPOLOGY,
        client=walk.client,
        target=walk.target,
        documents={
            "answers": answers.collect(stages),
            "canary": _canary(configuration),
            "clock": _clock(configuration),
            "delay": _delay(configuration, walk),
            "conntrack": conntrack.collect(before, dump),
            "cpu": metered(walk, rows),
            "generator": generator.collect({name: reply for name, (_, reply) in stages.items()}),
            "journal": made_up(configuration, walk.client, walk.target, packets),
            "nonces": nonces.collect(heard, nonces.control(ROUND, "a", CONTROL)),
            "refusal": _refusal(configuration),
            "host": host.collect(moment(10**12), moment(10**12 + 2 * 10**9)),
            "rules": rules.collect(before, after),
            "sockets": sockets.collect(before, after),
            "starts": _starts(configuration),
            "turns": turns.collect({name: reply for name, (_, reply) in stages.items()}),
            "tunnels": tunnels.collect(stats_before, stats_probed, stats_after),
            "wire": wire.collect(before, after),
        },
        samples=SampleCounts(
            first={state.value: PROBES for state in wishes},
            rows=rows,
            failed=dict.fromkeys(rows, 0),
            longest_ns={},
        ),
        first_packets=packets,
    )


def _first_packet(state: str, number: int) -> FirstPacket:
    start_ns = 10**12 + number * 10**7
    times = {"start_ns": start_ns, "connected_ns": start_ns + 10**5, "sent_ns": start_ns + 11 * 10**4}
    return FirstPacket(state=state, port=40_000 + number, first_byte_ns=start_ns + 10**6, **times)


ROUND = "0000-r1-the-rounds-first-cell"
CONTROL = {"a": {"frames": 30, "hits": 30, "unkept": 0}, "b": {"frames": 0, "hits": 0, "unkept": 0}}
"""Plaintext from node a to the host: its answers come back there."""
CLOCKED = 30
WALL_NS = 1_700_000_000 * 10**9
"""CLOCK_REALTIME when CLOCK_MONOTONIC is 0."""


def _starts(configuration: Configuration) -> dict[str, Any]:
    carried = configuration.dataplane != "none"
    return starts.collect(10**12, {f"ztunnel-1-{node}": 10**12 + 10**8 for node in "ab"} if carried else {})


def _canary(configuration: Configuration) -> dict[str, Any]:
    if configuration.dataplane == "none":
        return canary.not_made(ROUND, "data plane none has no proxy")
    right = {"verification": {"checked": 1, "wrong_pod": 0}, "errors": {}}
    return canary.collect(ROUND, address="198.51.100.1", asked=1, reply=right, streams=1)


def _refusal(configuration: Configuration) -> dict[str, Any]:
    if configuration.dataplane == "none":
        return refusal.not_made(ROUND, "data plane none has no proxy")
    before = dict.fromkeys(refusal.COUNTERS, EARLIER)
    return refusal.collect(
        ROUND,
        client="denied",
        target="remote",
        policy="refuse-denied",
        seen={"connected": True, "answer_bytes": 0, "ended": "ECONNRESET"},
        before=before,
        after={**before, "connects_denied": EARLIER + 1, "flagged_deny": EARLIER + 1},
    )


def _clock(configuration: Configuration) -> dict[str, Any]:
    """Connections whose every step takes 10 us, some a little longer on the way out."""
    load, seen = [], {}
    for number in range(CLOCKED):
        start, slower = 10**12 + number * 10**6, 1000 * (number % 5)
        load.append(
            {
                "local_port": 40000 + number,
                "start_ns": start,
                "connected_ns": start + 30_000 + slower,
                "first_byte_ns": start + 60_000,
            }
        )
        seen[str(40000 + number)] = {
            "syn_ns": WALL_NS + start + 10_000 + slower,
            "syn_ack_ns": WALL_NS + start + 20_000 + slower,
            "answer_ns": WALL_NS + start + 50_000,
        }
    brackets = {
        name: {"before_ns": at, "wall_ns": WALL_NS + at + 60, "after_ns": at + 120}
        for name, at in (("before", 10**12 - 10**6), ("after", 10**12 + 10**9))
    }
    captured = configuration.interception is not Interception.NONE
    return clock.collect(
        ROUND, link="lo" if captured else "eth0", load=load, stamped={**brackets, "connections": seen}
    )


def _delay(configuration: Configuration, walk: Walk) -> dict[str, Any]:
    """Round trips that are a little longer than asked for, and all that the nodes' links carried."""
    if not configuration.rtt_ms:
        return delay.collect(delay.NO_LINE, [])
    rtt_ns = configuration.rtt_ms * 1_000_000
    line = {
        "kind": "forwarder",
        "rtt_ns": rtt_ns,
        "carried": PACKETS * (next(walk.ports) - 40000),
        "lost": 0,
        "late_ns": {"p50": 60_000, "p90": 90_000, "max": 400_000},
    }
    return delay.collect(line, [rtt_ns + 150_000 + 1_000 * index for index in range(10)])


def _replied(walk: Walk, rows: int, checked: int, opened: int) -> dict[str, Any]:
    wrong = dict.fromkeys(("wrong_nonce", "wrong_pod", "wrong_node", "wrong_source", "wrong_bytes"), 0)
    source = walk.client.address_of(walk.configuration.ip_family)
    shown = f"[{source}]" if source.version == 6 else str(source)
    origin = f"{walk.target.name}/{walk.target_node or ''}/{shown}"
    return {
        "rows": rows,
        "opened": opened,
        "among": {"own": rows, "overlap_ns": 0, "places": []},
        "verification": {"checked": checked, **wrong},
        "answers": {origin: checked},
        "errors": {},
    }
