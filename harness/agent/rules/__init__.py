"""Which rules a namespace carries, as pure values; `appliers` puts them there.

model: a rule, a chain, a table, a set of them, and their text. marks: ports, marks, routing table.
levels: one file per interception level. counting: what every member carries. filler: rules that
match nothing. render: text for iptables-restore, held by golden files.
"""

from __future__ import annotations

from harness.agent.rules.counting import MEMBER
from harness.agent.rules.filler import FILLER_MAX, filler
from harness.agent.rules.levels import Level, level
from harness.agent.rules.model import RuleSet, merge

__all__ = ["MEMBER", "UnfitFiller", "captured"]


class UnfitFiller(ValueError):
    """A number of filler rules that the level cannot have."""


def captured(name: str, *, filler_rules: int = 0) -> tuple[Level, RuleSet]:
    """The level of that name, and everything that a captured pod carries at it: counting, filler, capture.

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
    return chosen, merge(MEMBER, filler(chosen.filler_table, filler_rules), chosen.rules)
