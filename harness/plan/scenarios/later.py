"""Later packets back to back: one live connection per lane, request by request in turns."""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Key, Metric, Rows, Stage

ORDER = 5
KEYS = {"seconds": Key(default=0.3, high=3600, about="How long, each lane.")}
SAMPLES = {"later": Rows.TRIP}
METRICS = (
    Metric(
        name="later",
        title="later packets, back to back",
        unit="s",
        stage="later",
        how=How.WHOLE,
    ),
)


def stages(load: Load) -> Iterator[Stage]:
    """One window of the probe process, which is quieter than Locust."""
    if asked := load.scenario("later"):
        yield Stage(name="later", op="later", seconds=float(asked["seconds"]), arguments=asked)
