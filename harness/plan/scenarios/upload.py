"""Bulk upload: the sink counts and digests every byte, and its answer ends the measurement."""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Key, Metric, Rows, Stage
from harness.topology.model import SINK_PORT

ORDER = 100
KEYS = {
    "streams": Key(default=2, low=1, high=1000, about="Connections that send."),
    "seconds": Key(default=0.4, high=3600, about="How long they send; what buffers hold is drained after."),
}
SAMPLES = {"upload": Rows.TRANSFER}
METRICS = (
    Metric(
        name="upload",
        title="bulk upload",
        unit="bit/s",
        stage="upload",
        how=How.BITS,
        lower_is_better=False,
    ),
)


def stages(load: Load) -> Iterator[Stage]:
    """One window and what it takes to drain."""
    if asked := load.scenario("upload"):
        yield Stage(
            name="upload",
            op="upload",
            seconds=float(asked["seconds"]),
            arguments=asked,
            port=SINK_PORT,
            sized=False,
        )
