"""The saved samples are all that were taken, and each is of a request that succeeded (C1, M23)."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, equal, judge
from harness.evidence.sources.answers import PROBE


def check(case: Case) -> Outcome:
    """Rows saved are those recorded, and those of Locust's statistics; first packets are those asked for."""
    laws: list[Law] = []
    for stage, answers in case.answers.items():
        laws += [
            equal(
                f"{stage} rows saved",
                case.samples.rows.get(stage, 0),
                answers.rows,
                "rows recorded by the load",
            ),
            equal(
                f"{stage} rows not ok",
                case.samples.failed.get(stage, 0),
                0,
                "latency is of verified answers only",
            ),
        ]
        if answers.tallied is not None:
            because = "rows recorded by the load, which Locust did not see"
            laws.append(
                equal(f"{stage} requests in Locust's statistics", answers.tallied, answers.rows, because)
            )
        if stage == PROBE:
            laws += [
                equal(
                    f"{batch.state} first packets",
                    case.samples.first.get(batch.state, 0),
                    batch.count,
                    "asked for",
                )
                for batch in answers.batches
            ]
    return judge(laws)
