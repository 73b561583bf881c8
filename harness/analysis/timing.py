"""How long the run took against its plan, and what everything around the load cost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.analysis.judge import JudgedCell
from harness.plan.model import Load
from harness.results.read import StoredRun

STAGES = {"rate": "rate_s", "requests": "requests_s", "transfer": "transfer_s"}
"""Stage -> the field of `Load` that says how long it is asked to take."""


def timing(run: StoredRun, cells: Sequence[JudgedCell]) -> dict[str, Any]:
    """Planned and real seconds, and the costs that the next plan can predict with.

    `cells_s` runs from the first cell's start to the last one's end, as `predicted_s` does; where a run
    was gone on with, the pauses between its sessions are no part of it: it is the sum over the cells.
    """
    records = [cell.stored.record for cell in cells]
    starts = [record.started.monotonic_ns for record in records]
    ends = [record.ended.monotonic_ns for record in records]
    whole_ns = max(ends) - min(starts) if records else 0
    if run.manifest.sessions:
        whole_ns = sum(end - start for start, end in zip(starts, ends, strict=True))
    switches = [record.timing["switch_s"] for record in records if "switch_s" in record.timing]
    return {
        "predicted_s": run.plan.predicted_s,
        "cells_s": round(whole_ns / 1e9, 3),
        "measured_all": len({record.cell.index for record in records}) == len(run.plan.cells),
        "switch_s": {"median": _median(switches), "max": round(max(switches), 4)} if switches else None,
        "costs": _costs(run.plan.load, cells, resumed=bool(run.manifest.sessions)),
        **run.manifest.timing,
    }


def _costs(load: Load, cells: Sequence[JudgedCell], *, resumed: bool) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    after = 0.0 if resumed else _after(cells)
    for cell in cells:
        if cell.configuration.rtt_ms:
            continue  # every cost is a distance there
        record = cell.stored.record
        # writing thousands of rules is a cost of its own
        if "switch_s" in record.timing and not cell.configuration.tuning:
            found.setdefault("switch_s", []).append(record.timing["switch_s"])
        if "evidence_s" in record.timing:
            found.setdefault("evidence_s", []).append(record.timing["evidence_s"] + after)
        for stage, asked in STAGES.items():
            if f"{stage}_s" in record.timing and getattr(load, asked):
                found.setdefault("stage_s", []).append(record.timing[f"{stage}_s"] - getattr(load, asked))
        for state, per_probe in cell.probe_costs.items():
            found.setdefault(f"probe_{state.value}_s", []).append(per_probe)
    plain = _median(found.get("switch_s", []))
    for cell in cells:
        rules = cell.configuration.filler_rules
        if rules and plain is not None and "switch_s" in cell.stored.record.timing:
            extra = (cell.stored.record.timing["switch_s"] - plain) / rules
            found.setdefault("filler_rule_s", []).append(max(extra, 0.0))
    return {name: float(np.round(np.median(values), 7)) for name, values in sorted(found.items())}


def _after(cells: Sequence[JudgedCell]) -> float:
    """Median seconds from a cell's end to the next one's start: judging it and saving it."""
    records = sorted((cell.stored.record for cell in cells), key=lambda each: each.started.monotonic_ns)
    gaps = [
        (later.started.monotonic_ns - earlier.ended.monotonic_ns) / 1e9
        for earlier, later in itertools.pairwise(records)
    ]
    return float(np.median(gaps)) if gaps else 0.0


def _median(values: Sequence[float]) -> float | None:
    return round(float(np.median(values)), 4) if values else None
