"""Which file is where in a run's folder."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

from harness.load.records import PROBE_FIELDS, REQUEST_FIELDS, RTT_FIELDS, TRANSFER_FIELDS
from harness.plan.model import Cell

RUN = "run.json"
PLAN = "plan.json"
TOPOLOGY = "topology.json"
ENVIRONMENT = "environment.json"
FINDINGS = "findings.json"
REPORT = "report.html"
SUMMARY = "summary.md"
CELLS = "cells"
CELL = "cell.json"
EVIDENCE = "evidence"
CHECKSUMS = "SHA256SUMS"
LOGS = "logs"
IMPORTED = "imported"

SAMPLES = {
    "probe": ("probes.parquet", PROBE_FIELDS),
    "rate": ("rate.parquet", REQUEST_FIELDS),
    "requests": ("requests.parquet", REQUEST_FIELDS),
    "transfer": ("transfers.parquet", TRANSFER_FIELDS),
    "rtt": ("rtt.parquet", RTT_FIELDS),
    "requests-alone": ("requests-alone.parquet", REQUEST_FIELDS),
    "transfer-alone": ("transfers-alone.parquet", TRANSFER_FIELDS),
    "connects": ("connects.parquet", REQUEST_FIELDS),
}
"""Stage of load -> its file and the columns of it."""

DEFAULT_ROOT = Path("results")


def run_id(suite: str, started: datetime) -> str:
    """A run's name: sorts by time, tells the suite, fits into a path of a unix socket."""
    safe = re.sub(r"[^a-z0-9-]", "-", suite.lower())[:16].strip("-")
    return f"{started:%Y%m%d-%H%M%S}-{safe}"


def cell_folder(cell: Cell, attempt: int) -> str:
    """The folder of one measurement of a cell; a repetition gets one of its own, nothing is overwritten."""
    return cell.name if attempt == 1 else f"{cell.name}.attempt-{attempt}"
