"""How long the run took against its plan, and what everything around the load cost."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.analysis.compare import Occasion
from harness.analysis.judge import JudgedCell
from harness.plan import scenarios
from harness.plan.model import Load
from harness.results.read import StoredRun

Bouts = dict[Occasion, list[JudgedCell]]


def timing(run: StoredRun, cells: Sequence[JudgedCell]) -> dict[str, Any]:
    """Planned and real seconds, and the costs that the next plan can predict with.

    `bouts_s` runs from the first bout's start to the last one's end, as `predicted_s` does; where a run was
    gone on with, the pauses between its sessions are no part of it: it is the sum over the bouts.
    """
    bouts: Bouts = {}
    for cell in cells:
        bouts.setdefault(cell.occasion, []).append(cell)
    records = [group[0].stored.record for group in bouts.values()]
    starts = [record.started.monotonic_ns for record in records]
    ends = [record.ended.monotonic_ns for record in records]
    whole_ns = max(ends) - min(starts) if records else 0
    if run.manifest.sessions:
        whole_ns = sum(end - start for start, end in zip(starts, ends, strict=True))
    return {
        "predicted_s": run.plan.predicted_s,
        "bouts_s": round(whole_ns / 1e9, 3),
        "measured_all": len(run.measured) == len(run.plan.cells),
        "costs": _costs(run.plan.load, bouts, resumed=bool(run.manifest.sessions)),
        **run.manifest.timing,
    }


def _costs(load: Load, bouts: Bouts, *, resumed: bool) -> dict[str, float]:
    """As `harness.plan.predict.Costs` names them, those that this run can tell."""
    asked = {stage.name: stage.seconds for stage in scenarios.stages(load)}
    found: dict[str, list[float]] = {}
    placed: set[int] = set()
    after = 0.0 if resumed else _after(bouts)
    for (number, _), group in bouts.items():
        spent, lanes = group[0].stored.record.timing, len(group)
        if any(cell.configuration.rtt_ms or cell.configuration.tuning for cell in group):
            continue  # every cost is a distance there, or rules by the thousand
        if number not in placed:  # the proxies were started anew
            found.setdefault("restart_s", []).append(spent["place_s"] / lanes)
            placed.add(number)
        found.setdefault("switch_s", []).append(spent["prove_s"] + spent["begin_s"])
        found.setdefault("evidence_s", []).append((spent["end_s"] + after) / lanes)
        for stage, seconds in asked.items():
            if f"{stage}_s" in spent and seconds:
                found.setdefault("stage_s", []).append(spent[f"{stage}_s"] / lanes - seconds)
        for cell in group:
            for state, per_probe in cell.probe_costs.items():
                found.setdefault(f"probe_{state.value}_s", []).append(per_probe)
    return {name: float(np.round(np.median(values), 7)) for name, values in sorted(found.items())}


def _after(bouts: Bouts) -> float:
    """Median seconds from a bout's end to the next one's start: judging its cells and saving them."""
    records = sorted(
        (group[0].stored.record for group in bouts.values()), key=lambda each: each.started.monotonic_ns
    )
    gaps = [
        (later.started.monotonic_ns - earlier.ended.monotonic_ns) / 1e9
        for earlier, later in itertools.pairwise(records)
    ]
    return float(np.median(gaps)) if gaps else 0.0
