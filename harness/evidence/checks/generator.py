"""The load generator did what it was told: its figures are the path's and not its own (M01, M14, F77).

A limit that only bounds a figure from one side is a remark (`harness.evidence.limits`): throughput is "at
least" so much. What makes figures wrong voids the cell: an open loop below its rate, a generator that stood
still while it should keep time, a worker that did not report.
"""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, at_least, equal, judge, not_applicable
from harness.evidence.limits import ACHIEVED_SHARE, STILL_NS
from harness.evidence.sources.generator import Health


def check(case: Case) -> Outcome:
    """Requests sent against requests due, the worst lag, and workers that reported against those asked."""
    laws = [law for stage, health in case.generator.items() for law in _laws(stage, health)]
    if not laws:
        return not_applicable("this cell has neither an open loop nor several workers")
    return judge(laws)


def _laws(stage: str, health: Health) -> list[Law]:
    laws = []
    if health.workers is not None:
        because = "a worker that is missing takes its part of the load with it"
        laws.append(equal(f"{stage} workers", health.workers.reported, health.workers.asked, because))
    if health.scheduled:
        because = (
            f"{ACHIEVED_SHARE:.0%} of {health.scheduled} due in the open loop, less one per connection, "
            "for a window ends in the midst of their turns"
        )
        least = int(ACHIEVED_SHARE * health.scheduled) - health.connections
        laws.append(at_least(f"{stage} requests sent", health.rows, max(0, least), because))
        if health.lag_p99_ns is not None:
            because = "beyond that the generator stood still"
            lag = Law(
                name=f"{stage} lag p99, ns", found=health.lag_p99_ns, low=0, high=STILL_NS, because=because
            )
            laws.append(lag)
    return laws
