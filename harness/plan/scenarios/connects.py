"""A connection per request (CRR): connect, one request, its answer, close in order, and again."""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Metric, Rows, Stage

ORDER = 60
KEYS = None
SAMPLES = {"connects": Rows.REQUEST}
METRICS = (
    Metric(
        name="connects",
        title="new connections per second",
        unit="connections/s",
        stage="connects",
        how=How.ANSWERS,
        lower_is_better=False,
    ),
)


def stages(load: Load) -> Iterator[Stage]:
    """One closed loop."""
    if load.connects_s:
        new = {"connections": load.connects_at_once, "seconds": load.connects_s, "rate_hz": 0}
        yield Stage(name="connects", op="connects", seconds=load.connects_s, arguments=new)
