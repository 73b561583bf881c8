"""Which file is where in a run's folder."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from harness.load.records import (
    ENDPOINT_FIELDS,
    PROBE_FIELDS,
    REQUEST_FIELDS,
    RTT_FIELDS,
    STEP_FIELDS,
    TRANSFER_FIELDS,
)
from harness.plan import scenarios
from harness.plan.scenarios import Rows

RUN = "run.json"
PLAN = "plan.json"
TOPOLOGY = "topology.json"
ENVIRONMENT = "environment.json"
DELAY = "delay.json"
FINDINGS = "findings.json"
REPORT = "report.html"
SUMMARY = "summary.md"
CELLS = "cells"
CELL = "cell.json"
EVIDENCE = "evidence"
CHECKSUMS = "SHA256SUMS"
LOGS = "logs"
IMPORTED = "imported"

FIELDS = {
    Rows.REQUEST: REQUEST_FIELDS,
    Rows.TRANSFER: TRANSFER_FIELDS,
    Rows.TRIP: RTT_FIELDS,
    Rows.STEP: STEP_FIELDS,
    Rows.ENDPOINT: ENDPOINT_FIELDS,
}
"""Shape of rows -> their columns."""

SAMPLES = {
    "probe": ("probes.parquet", PROBE_FIELDS),
    **{stage: (f"{stage}.parquet", FIELDS[rows]) for stage, rows in scenarios.samples().items()},
    "transfer": ("transfers.parquet", TRANSFER_FIELDS),
    "transfer-alone": ("transfers-alone.parquet", TRANSFER_FIELDS),
}
"""Stage of load -> its file and the columns of it."""

_ANSWERED = (("start_ns", "first_byte_ns"), ("first_byte_ns", "end_ns"))
_LASTED = (("start_ns", "end_ns"),)
ORDERED = {
    "probe": (("start_ns", "first_byte_ns"), ("start_ns", "connected_ns"), ("first_byte_ns", "end_ns")),
    **{
        stage: _ANSWERED if "first_byte_ns" in FIELDS[rows] else _LASTED
        for stage, rows in scenarios.samples().items()
    },
}
"""Stage -> times of a good sample that follow one another; otherwise a clock or the file is wrong."""

DEFAULT_ROOT = Path("results")


def run_id(suite: str, started: datetime) -> str:
    """A run's name: sorts by time, tells the suite, fits into a path of a unix socket."""
    safe = re.sub(r"[^a-z0-9-]", "-", suite.lower())[:16].strip("-")
    return f"{started:%Y%m%d-%H%M%S}-{safe}"
