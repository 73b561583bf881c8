"""Latency under load: a quiet probe's requests, first alone, then beside a saturating download.

The probe is a process of its own with a blocking socket, so that what it sees is the path's queue and not
the load generator's. Source: flent's RRUL; Apple's responsiveness under working conditions.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Key, Metric, Rows, Stage
from harness.topology.model import SOURCE_PORT

ORDER = 140
KEYS = {
    "hz": Key(default=200.0, low=1, high=10_000, about="The probe's pace, on one live connection."),
    "streams": Key(default=2, low=1, high=1000, about="Of the download beside it."),
    "seconds": Key(default=0.5, high=3600, about="Of each half: alone, and under load."),
}
SAMPLES = {
    "under-load-idle": Rows.REQUEST,
    "under-load-flow": Rows.TRANSFER,
    "under-load": Rows.REQUEST,
}
METRICS = (
    Metric(
        name="under-load.idle",
        title="probe's latency without load",
        unit="s",
        stage="under-load-idle",
        how=How.INTENDED,
    ),
    Metric(name="under-load", title="latency under load", unit="s", stage="under-load", how=How.INTENDED),
    Metric(
        name="under-load.flow",
        title="bulk throughput beside the probe",
        unit="bit/s",
        stage="under-load-flow",
        how=How.BITS,
        lower_is_better=False,
        compared=False,
    ),
)
MARGIN_S = 0.1
"""The flow ends so much after the probe: every request of it met the load."""


def stages(load: Load) -> Iterator[Stage]:
    """The probe alone, then the flow with the probe beside it."""
    asked = load.scenario("under-load")
    if not asked:
        return
    seconds = float(asked["seconds"])
    pace = {"rate_hz": asked["hz"], "seconds": seconds}
    yield Stage(name="under-load-idle", op="paced", seconds=seconds, arguments=pace)
    yield Stage(
        name="under-load-flow",
        op="transfer",
        seconds=seconds + MARGIN_S,
        arguments={"streams": asked["streams"], "seconds": seconds + MARGIN_S},
        port=SOURCE_PORT,
        sized=False,
        apart=True,
        beside=Stage(name="under-load", op="paced", seconds=seconds, arguments=pace),
    )
