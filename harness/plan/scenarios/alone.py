"""Requests and bulk download once more, on one connection each: what no concurrency hides."""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Metric, Rows, Stage
from harness.topology.model import SOURCE_PORT

ORDER = 50
KEYS = None
SAMPLES = {"requests-alone": Rows.REQUEST, "transfer-alone": Rows.TRANSFER}
METRICS = (
    Metric(
        name="requests.alone",
        title="requests per second on one connection",
        unit="requests/s",
        stage="requests-alone",
        how=How.ANSWERS,
        lower_is_better=False,
    ),
    Metric(
        name="transfer.alone",
        title="bulk throughput of one stream",
        unit="bit/s",
        stage="transfer-alone",
        how=How.BITS,
        lower_is_better=False,
    ),
)


def stages(load: Load) -> Iterator[Stage]:
    """Two windows."""
    if load.alone_s:
        one = {"connections": 1, "seconds": load.alone_s, "rate_hz": 0}
        yield Stage(name="requests-alone", op="requests", seconds=load.alone_s, arguments=one)
        yield Stage(
            name="transfer-alone",
            op="transfer",
            seconds=load.alone_s,
            arguments={"streams": 1, "seconds": load.alone_s},
            port=SOURCE_PORT,
            sized=False,
        )
