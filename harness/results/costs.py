"""What the latest run measured around its load, to predict the next one with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.plan.predict import Costs
from harness.results import layout
from harness.results.read import run_folders


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredCosts:
    """Costs, and the run that measured them."""

    run: str
    costs: Costs


def latest_costs(root: Path) -> MeasuredCosts | None:
    """The costs of the latest run below `root` whose findings hold any; None where there is none.

    Findings that cannot be read are passed over: a prediction is no place to refuse.
    """
    for folder in sorted(run_folders(root), key=lambda path: path.name, reverse=True):
        try:
            findings = json.loads((folder / layout.FINDINGS).read_bytes())
            costs = costs_of(findings)
        except (OSError, ValueError, TypeError, AttributeError):
            continue
        if costs is not None:
            return MeasuredCosts(run=folder.name, costs=costs)
    return None


def costs_of(findings: Mapping[str, Any]) -> Costs | None:
    """The costs in a run's findings, defaults where it measured none; None where it measured too few."""
    measured = findings.get("timing", {}).get("costs", {})
    if not {"switch_s", "evidence_s"} <= set(measured):
        return None
    return Costs(**{name: float(measured.get(name, default)) for name, default in asdict(Costs()).items()})
