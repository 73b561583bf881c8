"""Rules that count and do nothing else: in every pod and host, and on the links between nodes.

Pods of every level carry the same ones, `none` included, so what they cost is no difference.
"""

from __future__ import annotations

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

MEMBER = RuleSet(
    tables=(
        Table(
            name="mangle",
            heads={
                "PREROUTING": (
                    Rule(name="jump-count-prerouting", why="what arrives", target=Module(name="BENCH_PRERT")),
                ),
                "OUTPUT": (
                    Rule(name="jump-count-output", why="what is sent", target=Module(name="BENCH_OUTPUT")),
                ),
            },
            chains=(
                Chain(name="BENCH_PRERT", rules=_COUNTS),
                Chain(name="BENCH_OUTPUT", rules=_COUNTS),
            ),
        ),
    )
)
"""For pods and outside hosts."""


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


NODE = RuleSet(
    tables=(
        Table(
            name="mangle",
            heads={
                "FORWARD": (
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
            },
            chains=(
                Chain(name="BENCH_WIRE_IN", rules=_by_port("wire")),
                Chain(name="BENCH_WIRE_OUT", rules=_by_port("wire")),
                Chain(name="BENCH_LOCAL", rules=_by_port("local")),
            ),
        ),
    )
)
"""For nodes: packets by port, apart for the link between nodes and for pods of one node."""
