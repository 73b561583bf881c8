"""An open loop: requests are due at instants drawn before, whether or not earlier ones were answered.

Latency counts from the instant that was intended, so that a stall is paid by every request that was due
in it, and from the real start beside that. Source: wrk2's README; Schroeder et al., NSDI 2006.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Metric, Rows, Stage

ORDER = 10
KEYS = None
SAMPLES = {"rate": Rows.REQUEST}
METRICS = (
    Metric(name="rate", title="open-loop latency", unit="s", stage="rate", how=How.INTENDED),
    Metric(
        name="rate.started",
        title="open-loop latency, from the real start",
        unit="s",
        stage="rate",
        how=How.STARTED,
        compared=False,
    ),
)


def stages(load: Load) -> Iterator[Stage]:
    """One window, arrivals constant or Poisson."""
    if load.rate_hz and load.rate_s:
        asked: dict[str, float | int | str] = {
            "connections": load.rate_connections,
            "seconds": load.rate_s,
            "rate_hz": load.rate_hz,
            "arrivals": load.rate_arrivals,
        }
        yield Stage(name="rate", op="requests", seconds=load.rate_s, arguments=asked)
