"""The knee: the highest open-loop rate whose p99 stays below a limit, searched step by step.

Rates double until one misses, then the gap is halved until it is narrow (`harness.load.knee`).
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Key, Metric, Rows, Stage

ORDER = 150
KEYS = {
    "p99_ms": Key(default=5.0, low=0.01, high=10_000, about="What the 99th percentile has to stay below."),
    "from_hz": Key(default=500.0, low=10, high=1_000_000, about="The first rate."),
    "to_hz": Key(default=64_000.0, low=10, high=1_000_000, about="The highest rate that is tried."),
    "steps": Key(default=8, low=1, high=50, about="At most so many rates."),
    "connections": Key(default=16, low=1, high=10_000, about="Live ones, the same for all steps."),
    "seconds": Key(default=0.25, high=3600, about="Of each step."),
}
SAMPLES = {"knee": Rows.STEP}
METRICS = (
    Metric(
        name="knee",
        title="highest rate within the limit",
        unit="requests/s",
        stage="knee",
        how=How.KNEE,
        lower_is_better=False,
    ),
)


def stages(load: Load) -> Iterator[Stage]:
    """One stage that holds all steps."""
    if asked := load.scenario("knee"):
        seconds = float(asked["seconds"]) * int(asked["steps"])
        yield Stage(name="knee", op="knee", seconds=seconds, arguments=asked, seeded=True)
