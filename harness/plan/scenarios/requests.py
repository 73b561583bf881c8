"""Request and response on live connections, back to back: how many a second."""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Metric, Rows, Stage

ORDER = 20
KEYS = None
SAMPLES = {"requests": Rows.REQUEST}
METRICS = (
    Metric(
        name="requests",
        title="requests per second",
        unit="requests/s",
        stage="requests",
        how=How.ANSWERS,
        lower_is_better=False,
    ),
)


def stages(load: Load) -> Iterator[Stage]:
    """One closed loop."""
    if load.requests_s:
        closed = {"connections": load.requests_connections, "seconds": load.requests_s, "rate_hz": 0}
        yield Stage(name="requests", op="requests", seconds=load.requests_s, arguments=closed)
