"""Lanes had their turns one after another, in an order that is balanced."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, equal, judge

TOGETHER = frozenset({"idle-fleet-held", "idle-fleet", "under-load-idle", "under-load"})
"""Stages that have all lanes at once: fleets that say nothing, and paced probes that use little."""
PLACES_APART = 2
"""By how much the places of a lane may differ where a design of cycles was cut short."""


def check(case: Case) -> Outcome:
    """Time shared with other lanes' turns, and how often this lane stood in each place of a cycle."""
    laws: list[Law] = []
    for stage, turns in case.turns.items():
        if stage not in TOGETHER:
            name = f"{stage}: ns of other lanes' turns within this one's"
            laws.append(equal(name, turns.overlap_ns, 0, "turns follow one another"))
        if turns.places:
            laws.append(
                equal(
                    f"{stage}: turns in the commonest place of a cycle beyond those in the rarest",
                    max(turns.places) - min(turns.places),
                    0,
                    f"a balanced order; {', '.join(map(str, turns.places))} by place",
                    slack=PLACES_APART,
                )
            )
    return judge(laws)
