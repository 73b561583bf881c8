"""The load's clock and the kernel's packet stamps tell the same time (M18)."""

from __future__ import annotations

import statistics

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, equal, judge
from harness.evidence.sources.clock import NAME, Clock
from harness.evidence.sources.document import Unreadable

APART_NS = 20_000
"""The two clocks, at the median of the quicker half. What a busy machine takes between a call and its packet
is more than that (30 us each way were seen), but as much on the way out as on the way back, and so not
between the clocks."""


def check(case: Case) -> Outcome:
    """No packet left before the load began or came after it was told, and the clocks agree at the median."""
    found = case.clock
    if found.stepped:
        raise Unreadable(NAME, f"the wall's clock was set by {found.step_ns:.0f} ns, so stamps say nothing")
    seen = len(found.connections)
    laws = [equal(f"connections seen on {found.link}", seen, found.asked, f"made for {found.cell}")]
    if seen:
        apart = round(statistics.median(found.offsets_ns()))
        because = f"{seen} connections, stamps mapped within {found.error_ns:.0f} ns"
        laws += [
            equal("stamps out of order with the load's times", _disordered(found), 0, because),
            Law(
                name="clocks apart at the median, ns",
                found=apart,
                low=-APART_NS,
                high=APART_NS,
                because=because,
            ),
        ]
    return judge(laws)


def _disordered(found: Clock) -> int:
    """Stamps that lie before their cause or after their effect by more than the mapping's error."""
    ways = (*found.sent_after_ns(), *found.told_after_ns(), *found.answered_after_ns())
    return sum(way < -found.error_ns for way in ways)
