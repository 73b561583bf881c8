"""Bulk download."""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Metric, Rows, Stage
from harness.topology.model import SOURCE_PORT

ORDER = 30
KEYS = None
SAMPLES = {"transfer": Rows.TRANSFER}
METRICS = (
    Metric(
        name="transfer",
        title="bulk throughput",
        unit="bit/s",
        stage="transfer",
        how=How.BITS,
        lower_is_better=False,
    ),
)


def stages(load: Load) -> Iterator[Stage]:
    """One window in which the streams read what the source sends without end."""
    if load.transfer_s:
        bulk = {"streams": load.transfer_streams, "seconds": load.transfer_s}
        yield Stage(
            name="transfer",
            op="transfer",
            seconds=load.transfer_s,
            arguments=bulk,
            port=SOURCE_PORT,
            sized=False,
        )
