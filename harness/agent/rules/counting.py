"""Rules that count and do nothing else: in every pod and host, and on the links between nodes.

Pods of every level carry the same ones, `none` included, so what they cost is no difference.

Nodes and hosts are shared by all lanes and count for each lane apart, by the prefix of its pods: the same
rules under the same names, in a chain of the lane's own. No lane's jump ends the walk: a packet is looked at
for every lane and counted for one, so that the first lane's packets are walked as far as the last one's.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.agent.rules.marks import HBONE_PORT, SYN
from harness.agent.rules.model import Chain, Module, Option, Rule, RuleSet, Table
from harness.topology.model import APP_PORT, ECHO_PORT, SINK_PORT, SOURCE_PORT

UPLINK = "uplink"
"""A node's link to the underlay."""

_RETURN = Module(name="RETURN")

_COUNTS = (
    Rule(
        name="count-syn",
        why="connections asked for, retransmissions included",
        protocol="tcp",
        matches=(Module(name="tcp", options=(SYN,)),),
    ),
    Rule(name="count-tcp", why="every packet", protocol="tcp"),
)

_HEADS = {
    "PREROUTING": (
        Rule(name="jump-count-prerouting", why="what arrives", target=Module(name="BENCH_PRERT")),
    ),
    "OUTPUT": (Rule(name="jump-count-output", why="what is sent", target=Module(name="BENCH_OUTPUT")),),
}

POD = RuleSet(
    tables=(
        Table(
            name="mangle",
            heads=_HEADS,
            chains=(Chain(name="BENCH_PRERT", rules=_COUNTS), Chain(name="BENCH_OUTPUT", rules=_COUNTS)),
        ),
    )
)
"""For pods, which are of one lane."""


def host(lanes: Mapping[int, str]) -> RuleSet:
    """For outside hosts: what every pod counts, for each lane apart.

    Args:
        lanes: Number -> the prefix of that lane's pods, IPv4.
    """
    return RuleSet(
        tables=(
            Table(
                name="mangle",
                heads=_HEADS,
                chains=(
                    *_by_lane("BENCH_PRERT", _SOURCE, lanes, _COUNTS),
                    *_by_lane("BENCH_OUTPUT", _DESTINATION, lanes, _COUNTS),
                ),
            ),
        )
    )


def node(lanes: Mapping[int, str]) -> RuleSet:
    """For nodes: packets by port, for each lane apart; the link between nodes, and pods of one node.

    Args:
        lanes: Number -> the prefix of that lane's pods, IPv4.
    """
    wire, local = _by_port("wire"), _by_port("local")
    return RuleSet(
        tables=(
            Table(
                name="mangle",
                heads={"FORWARD": _FORWARD},
                chains=(
                    *_by_lane("BENCH_WIRE_IN", _DESTINATION, lanes, wire),
                    *_by_lane("BENCH_WIRE_OUT", _SOURCE, lanes, wire),
                    *_by_lane("BENCH_LOCAL", _SOURCE, lanes, local),
                ),
            ),
        )
    )


_SOURCE, _DESTINATION = "source", "destination"


def _by_lane(name: str, end: str, lanes: Mapping[int, str], rules: tuple[Rule, ...]) -> Iterator[Chain]:
    """A chain that looks for every lane's prefix at one end of a packet, and each lane's own with `rules`."""
    jumps = tuple(
        Rule(
            name=f"jump-lane-{lane}",
            why=f"of lane {lane}'s pods",
            source=prefix if end == _SOURCE else "",
            destination=prefix if end == _DESTINATION else "",
            target=Module(name=f"{name}_{lane}"),
        )
        for lane, prefix in lanes.items()
    )
    yield Chain(name=name, rules=jumps)
    for lane in lanes:
        yield Chain(name=f"{name}_{lane}", rules=rules, group=name, lane=lane)


def _ports(option: str, *ports: int) -> Module:
    if len(ports) == 1:
        return Module(name="tcp", options=(Option(name=option, value=str(ports[0])),))
    value = ",".join(str(port) for port in ports)
    return Module(name="multiport", options=(Option(name=f"{option}s", value=value),))


def _by_port(prefix: str) -> tuple[Rule, ...]:
    app = (APP_PORT, ECHO_PORT, SINK_PORT, SOURCE_PORT)
    kinds = (
        ("hbone-dport", "to a proxy's tunnel port", _ports("dport", HBONE_PORT)),
        ("hbone-sport", "from a proxy's tunnel port", _ports("sport", HBONE_PORT)),
        ("app-dport", "to a backend in plaintext", _ports("dport", *app)),
        ("app-sport", "from a backend in plaintext", _ports("sport", *app)),
    )
    rules = [
        Rule(name=f"{prefix}-{name}", why=why, protocol="tcp", matches=(match,), target=_RETURN)
        for name, why, match in kinds
    ]
    return (*rules, Rule(name=f"{prefix}-other", why="nothing that a measurement sends"))


_FORWARD = (
    Rule(
        name="jump-wire-in",
        why="what the underlay brings",
        in_interface=UPLINK,
        target=Module(name="BENCH_WIRE_IN"),
    ),
    Rule(
        name="jump-wire-out",
        why="what leaves for the underlay",
        out_interface=UPLINK,
        target=Module(name="BENCH_WIRE_OUT"),
    ),
    Rule(
        name="jump-local",
        why="between two pods of this node",
        in_interface=f"!{UPLINK}",
        out_interface=f"!{UPLINK}",
        target=Module(name="BENCH_LOCAL"),
    ),
)
