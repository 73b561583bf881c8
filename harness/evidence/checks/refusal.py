"""Policy was in force: the round's connection that it has to refuse was refused (M34)."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Outcome, at_least, equal, judge, not_applicable

REFUSED = frozenset({"ECONNRESET", "closed"})
"""How a client sees that its connection, which its own proxy had accepted, goes no further."""


def check(case: Case) -> Outcome:
    """It was accepted by its own proxy, ended without a byte, and counted and logged as denied."""
    if case.configuration.dataplane == "none":
        return not_applicable("no proxy enforces policy in data plane none")
    found = case.refusal
    if found.not_made:
        return not_applicable(found.not_made)
    who = f"{found.client} to {found.target}, which policy {found.policy} denies"
    seen = f"at the start of {found.cell} it ended with {found.ended}"
    return judge(
        [
            equal("refused connections accepted by their own proxy", int(found.connected), 1, who),
            equal("bytes that answered a refused connection", found.answer_bytes, 0, f"{who}; {seen}"),
            equal("refused connections reset or closed", int(found.ended in REFUSED), 1, f"{who}; {seen}"),
            equal("connects_denied at the target", found.growth["connects_denied"], 1, who),
            equal("connects_accepted at the target", found.growth["connects_accepted"], 0, who),
            at_least("access lines with flag DENY", found.growth["flagged_deny"], 1, who),
        ]
    )
