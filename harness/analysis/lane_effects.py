"""What a lane does by itself, whatever stands on it: why configurations move from lane to lane.

Each value is held against its configuration's mean over rounds and against what its bout had in common; what
is left is averaged by lane. Addresses, hash buckets and memory give a lane an effect of its own, which the
Latin square takes out of every comparison; here it is shown.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from harness.analysis.compare import Occasion, exponential
from harness.analysis.judge import JudgedCell
from harness.analysis.measures import FIRST
from harness.analysis.statistics import Estimate, mean

METRICS = (*FIRST.values(), "steady", "rate", "requests", "transfer")
"""Those that every run has."""
K = TypeVar("K")
Place = tuple[str, str]
"""Path and metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneEffect:
    """One lane against the mean of all."""

    path: str
    metric: str
    lane: int
    ratio: Estimate
    """Over rounds; 1: as the others."""

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {"path": self.path, "metric": self.metric, "lane": self.lane, "ratio": self.ratio.document()}


def lane_effects(cells: Iterable[JudgedCell]) -> tuple[LaneEffect, ...]:
    """Of every lane, path and metric, where cells of several lanes were measured."""
    by_place: dict[Place, list[JudgedCell]] = defaultdict(list)
    for cell in cells:
        if cell.usable:
            for metric in METRICS:
                if metric in cell.measured and cell.measured[metric].value > 0:
                    by_place[cell.configuration.path.value, metric].append(cell)
    return tuple(effect for place, group in by_place.items() for effect in _effects(place, group))


def _effects(place: Place, cells: list[JudgedCell]) -> Iterable[LaneEffect]:
    path, metric = place
    logarithms = [math.log(cell.measured[metric].value) for cell in cells]
    usual = _means(zip((cell.configuration.key for cell in cells), logarithms, strict=True))
    residuals = [found - usual[cell.configuration.key] for cell, found in zip(cells, logarithms, strict=True)]
    shared: Mapping[Occasion, float] = _means(zip((cell.occasion for cell in cells), residuals, strict=True))
    by_lane: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cell, residual in zip(cells, residuals, strict=True):
        where = cell.stored.record.cell
        by_lane[where.lane][where.round].append(residual - shared[cell.occasion])
    if len(by_lane) < 2:
        return
    for lane, rounds in sorted(by_lane.items()):
        ratio = exponential(mean([sum(found) / len(found) for found in rounds.values()]))
        yield LaneEffect(path=path, metric=metric, lane=lane, ratio=ratio)


def _means(pairs: Iterable[tuple[K, float]]) -> dict[K, float]:
    groups: dict[K, list[float]] = defaultdict(list)
    for key, value in pairs:
        groups[key].append(value)
    return {key: sum(found) / len(found) for key, found in groups.items()}
