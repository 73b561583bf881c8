"""A service with several endpoints: new connections to its virtual address, answers counted per pod."""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Key, Metric, Rows, Stage

ORDER = 170
KEYS = {
    "connections": Key(default=4, low=1, high=1000, about="So many at once."),
    "seconds": Key(default=0.4, high=3600, about="How long."),
}
SAMPLES = {"endpoints": Rows.ENDPOINT}
METRICS = (
    Metric(
        name="endpoints",
        title="new connections per second to a service",
        unit="connections/s",
        stage="endpoints",
        how=How.ANSWERS,
        lower_is_better=False,
    ),
    Metric(
        name="endpoints.busiest",
        title="answers of the busiest endpoint",
        unit="share",
        stage="endpoints",
        how=How.BUSIEST,
        compared=False,
    ),
)


def stages(load: Load) -> Iterator[Stage]:
    """One closed loop of new connections."""
    if asked := load.scenario("endpoints"):
        yield Stage(name="endpoints", op="endpoints", seconds=float(asked["seconds"]), arguments=asked)
