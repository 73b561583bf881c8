"""A proxy answered where only a proxy can: at an address that nothing owns or routes (M08)."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Outcome, at_least, equal, judge, not_applicable


def check(case: Case) -> Outcome:
    """The round's request to the canary was answered by its endpoint, and a tunnel carried it."""
    if case.configuration.dataplane == "none":
        return not_applicable("no proxy is in the path of data plane none")
    found = case.canary
    if found.not_made:
        return not_applicable(found.not_made)
    failures = ", ".join(f"{count} {kind}" for kind, count in sorted(found.errors.items())) or "no error"
    return judge(
        [
            at_least("canary requests", found.asked, 1, f"at the start of {found.cell}"),
            equal(
                f"canary answers from {found.address}",
                found.right,
                found.asked,
                f"all that were asked for; {failures}",
            ),
            equal(
                "canary connections tunnelled",
                found.streams,
                found.asked,
                "its endpoint is in the mesh",
            ),
        ]
    )
