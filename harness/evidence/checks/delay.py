"""Packets between the nodes were as late as the cell says, none was lost, and none came early."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, at_least, equal, judge
from harness.evidence.sources.delay import NAME
from harness.evidence.sources.document import Unreadable

SLACK_SHARE, SLACK_NS = 0.1, 500_000
"""By how much the fastest round trip may exceed what was asked for. The kernel's own way takes 15 us, a
forwarder's waking 100 us; what a busy machine adds to the median is noise, and a remark of its own."""


def check(case: Case) -> Outcome:
    """The delay in force is the cell's; where there is one, round trips across it take that long."""
    found, asked_ns = case.delay, case.configuration.rtt_ms * 1_000_000
    laws: list[Law] = [equal("delay in force, ns", found.rtt_ns, asked_ns, "the cell's rtt_ms")]
    if asked_ns:
        if not found.trips_ns:
            raise Unreadable(NAME, "no round trip was made across the line")
        laws += [
            Law(
                name="fastest round trip, ns",
                found=min(found.trips_ns),
                low=asked_ns,
                high=round(asked_ns * (1 + SLACK_SHARE)) + SLACK_NS,
                because="the cell's rtt_ms",
            ),
            equal("frames lost", found.lost, 0, "a loss costs a time-out"),
            at_least("frames carried", found.carried, 1, "the path crosses the line"),
        ]
    else:
        laws.append(equal("frames delayed", found.carried, 0, "no delay was asked for"))
    return judge(laws)
