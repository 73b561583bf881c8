"""Namespaces that all lanes share: which rules they carry, and how their counters are told by lane. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from harness.agent.appliers import Line, own
from harness.agent.rules import counting, twinned
from harness.agent.rules.model import RuleSet
from harness.agent.sysctls import Kind
from harness.agent.wanted import Wanted
from harness.topology.model import Topology


def shared(kind: Kind, topology: Topology) -> Wanted:
    """What a node, a host or the underlay has to carry, whatever its lanes carry."""
    lanes = range(1, topology.lanes + 1)
    prefixes = {lane: str(topology.lane_network(lane)) for lane in lanes}
    counted = {Kind.NODE: counting.node, Kind.HOST: counting.host}
    if kind not in counted:
        return Wanted(rules=RuleSet(tables=()))
    wanted = Wanted(rules=counted[kind](prefixes))
    if not topology.ipv6:
        return wanted
    return twinned(wanted, {prefixes[lane]: str(topology.lane_network6(lane)) for lane in lanes})


def named(rules: RuleSet, lines: Iterable[Line]) -> list[dict[str, Any]]:
    """Counters under our rules' names; those of a group of chains under the group's, with their lane.

    Args:
        rules: What the namespace has to carry.
        lines: What was read there.
    """
    names = {(table, chain, text): name for table, chain, name, text in rules.lines()}
    groups = {
        (table.name, chain.name): chain for table in rules.tables for chain in table.chains if chain.group
    }
    counters = []
    for line in lines:
        chain = groups.get((line.table, line.chain))
        unknown = "changed" if own(line) else "foreign"
        counters.append(
            {
                "table": line.table,
                "chain": chain.group if chain else line.chain,
                "lane": chain.lane if chain else 0,
                "rule": names.get((line.table, line.chain, line.text), unknown),
                "packets": line.packets,
                "bytes": line.bytes,
            }
        )
    return counters
