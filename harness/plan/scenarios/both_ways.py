"""Bulk both ways at once on each connection: what is sent comes back, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Key, Metric, Rows, Stage
from harness.topology.model import ECHO_PORT

ORDER = 110
KEYS = {
    "streams": Key(default=2, low=1, high=1000, about="Connections that send and read at once."),
    "seconds": Key(default=0.4, high=3600, about="How long."),
}
SAMPLES = {"both-ways": Rows.TRANSFER}
METRICS = (
    Metric(
        name="both-ways",
        title="bulk both ways, each way",
        unit="bit/s",
        stage="both-ways",
        how=How.BITS,
        lower_is_better=False,
    ),
)


def stages(load: Load) -> Iterator[Stage]:
    """One window."""
    if asked := load.scenario("both-ways"):
        yield Stage(
            name="both-ways",
            op="both-ways",
            seconds=float(asked["seconds"]),
            arguments=asked,
            port=ECHO_PORT,
            sized=False,
        )
