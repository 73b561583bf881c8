"""The lane's proxies were started for this round; none carries an earlier one's memory or hash seed."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Outcome, at_least, judge, not_applicable
from harness.evidence.sources.starts import TICK_NS


def check(case: Case) -> Outcome:
    """Each proxy's start against the moment at which its lane was placed."""
    starts = case.starts
    if not starts.proxies:
        return not_applicable("no process carries this lane")
    because = "its lane was placed for the round at 0"
    return judge(
        [
            at_least(f"{name}: start in ns", started_ns - starts.placed_ns, -TICK_NS, because)
            for name, started_ns in starts.proxies.items()
        ]
    )
