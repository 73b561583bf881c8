"""Which rules a namespace carries, as pure values; `appliers` puts them there.

model: a rule, a chain, a table, a set of them, and their text. marks: ports, marks, routing table.
levels: one file per interception level. counting: what pods, nodes and hosts count, by lane.
filler: rules that match nothing. twins: the same for IPv6. render: text for iptables-restore, held by golden
files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.agent.rules.counting import POD
from harness.agent.rules.filler import FILLER_MAX, filler
from harness.agent.rules.levels import level
from harness.agent.rules.model import merge
from harness.agent.rules.twins import in_ipv6
from harness.agent.wanted import Wanted

__all__ = ["UnfitFiller", "captured", "twinned"]


class UnfitFiller(ValueError):
    """A number of filler rules that the level cannot have."""


def captured(name: str, *, filler_rules: int = 0, ipv6: bool = False) -> Wanted:
    """Everything that a captured pod carries at the level of that name: counting, filler, capture.

    Args:
        name: The level.
        filler_rules: How many rules that match nothing stand before it.
        ipv6: Whether the pod has IPv6: all of it once more, in IPv6's tables.

    Raises:
        UnknownLevel: There is no such level.
        UnfitFiller: Too many filler rules, or any at a level that has nothing for them to precede.
    """
    chosen = level(name)
    if not 0 <= filler_rules <= FILLER_MAX:
        raise UnfitFiller(f"filler_rules is {filler_rules}; it can be 0 to {FILLER_MAX}")
    if filler_rules and not chosen.filler_table:
        raise UnfitFiller(
            f"filler_rules is {filler_rules}, but at level {name!r} there is nothing to precede"
        )
    wanted = Wanted(
        rules=merge(POD, filler(chosen.filler_table, filler_rules), chosen.rules),
        routes=chosen.routes,
        sysctls=chosen.sysctls,
    )
    return twinned(wanted) if ipv6 else wanted


def twinned(wanted: Wanted, prefixes: Mapping[str, str] | None = None) -> Wanted:
    """The same, and all of it for IPv6 too; settings hold for both families.

    Args:
        wanted: What there is for IPv4.
        prefixes: IPv4 prefix -> its IPv6 twin, of those in the rules that no level knows: the lanes'.
    """
    return replace(
        wanted,
        rules=merge(wanted.rules, in_ipv6(wanted.rules, prefixes or {})),
        routes=(*wanted.routes, *(replace(route, ipv6=True) for route in wanted.routes)),
    )
