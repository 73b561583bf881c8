"""Measured links carried measured traffic and ARP, and nothing else (M13)."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, equal, judge

BETWEEN_NODES = "wire-other"


def check(case: Case) -> Outcome:
    """Stray packets are 0 in every namespace, and so is TCP between nodes that is of no measured port."""
    laws: list[Law] = []
    for name, counts in case.wire.after.items():
        laws.append(
            equal(f"{name} stray packets", case.wire.stray(name), 0, "links are for measured traffic")
        )
        if BETWEEN_NODES in counts.rules:
            found = case.wire.packets(name, BETWEEN_NODES)
            laws.append(equal(f"{name} {BETWEEN_NODES}", found, 0, "no measured port"))
    return judge(laws)
