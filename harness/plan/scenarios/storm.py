"""A connection storm: so many clients at the same instant, each with a new connection and one request.

All are due when the window opens, so the last one's latency holds the whole queue. The number stays below
the proxies' accept queue by default: a queue that overflows costs a SYN's second, and makes a cell invalid.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Key, Metric, Rows, Stage

ORDER = 130
KEYS = {
    "connections": Key(default=64, low=1, high=4000, about="All at the same instant."),
    "seconds": Key(default=0.5, high=3600, about="How long all together may take."),
}
SAMPLES = {"storm": Rows.REQUEST}
METRICS = (
    Metric(name="storm", title="first byte in a connection storm", unit="s", stage="storm", how=How.INTENDED),
    Metric(
        name="storm.rate",
        title="connections per second in a storm",
        unit="connections/s",
        stage="storm",
        how=How.ANSWERS,
        lower_is_better=False,
        compared=False,
    ),
)


def stages(load: Load) -> Iterator[Stage]:
    """One burst."""
    if asked := load.scenario("storm"):
        yield Stage(name="storm", op="storm", seconds=float(asked["seconds"]), arguments=asked)
