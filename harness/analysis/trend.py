"""Every metric over the runs of one environment and suite, and the steps in it.

A step that the same path shows without the mesh at the same place is the machine's as much as the code's,
and is said to be; commits on both sides of a step tell where to look.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.analysis.compare import Side
from harness.analysis.excerpt import Excerpt
from harness.analysis.measures import FIRST, METRICS
from harness.analysis.statistics import Estimate, estimate
from harness.analysis.steps import steps

TREND_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One run of a series."""

    run: str
    started: str
    commit: str
    value: Estimate


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A level that changed and stayed changed."""

    at: int
    """Index of the first run of the new level."""
    run: str
    commit: str
    before_commit: str
    before: float
    after: float
    better: bool
    matters: bool
    """Whether it exceeds the suite's resolution."""
    machine: str
    """Why it may be the machine's and not the code's; empty where nothing says so."""

    @property
    def ratio(self) -> float:
        """The new level against the old one."""
        return self.after / self.before

    def document(self) -> dict[str, Any]:
        """As printed."""
        return {**asdict(self), "ratio": self.ratio}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One metric of one configuration over the runs."""

    side: Side
    unit: str
    points: tuple[Point, ...]
    steps: tuple[Step, ...]

    @property
    def levels(self) -> list[tuple[int, int, float]]:
        """First run, one past the last, and median of each level."""
        edges = [0, *(step.at for step in self.steps), len(self.points)]
        return [(start, end, _level(self.points[start:end])) for start, end in itertools.pairwise(edges)]

    def document(self) -> dict[str, Any]:
        """As printed."""
        return {
            "configuration": self.side.configuration,
            "metric": self.side.metric,
            "unit": self.unit,
            "points": [
                {"run": each.run, "started": each.started, "commit": each.commit, **each.value.document()}
                for each in self.points
            ],
            "steps": [step.document() for step in self.steps],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """All series of one shelf: runs that may be held against each other."""

    shelf: str
    default: str
    runs: tuple[str, ...]
    """Oldest first."""
    series: tuple[Series, ...]

    @property
    def stepped(self) -> list[Series]:
        """Those with a step that matters, the latest and then the greatest first."""
        found = [each for each in self.series if any(step.matters for step in each.steps)]

        def weight(each: Series) -> tuple[int, float]:
            last = [step for step in each.steps if step.matters][-1]
            return -last.at, -abs(math.log(last.ratio))

        return sorted(found, key=weight)

    def document(self) -> dict[str, Any]:
        """As printed with `--json`."""
        return {
            "schema_version": TREND_SCHEMA,
            "shelf": self.shelf,
            "default": self.default,
            "runs": list(self.runs),
            "series": [each.document() for each in self.series],
        }


def trends(excerpts: Sequence[Excerpt]) -> list[Trend]:
    """One per environment and suite, in the order of their names; a run that is given twice counts once."""
    by_shelf: dict[str, dict[str, Excerpt]] = {}
    for each in excerpts:
        by_shelf.setdefault(each.shelf, {})[each.run] = each
    return [_trend(shelf, list(found.values())) for shelf, found in sorted(by_shelf.items())]


def _trend(shelf: str, excerpts: list[Excerpt]) -> Trend:
    ordered = sorted(excerpts, key=lambda each: each.started)
    latest = ordered[-1]
    found = {side: _points(ordered, side) for side in latest.measures if side not in latest.limited}
    return Trend(
        shelf=shelf,
        default=latest.default,
        runs=tuple(each.run for each in ordered),
        series=tuple(
            Series(
                side=side,
                unit=latest.measures[side].unit,
                points=points,
                steps=tuple(_steps(side, points, found, latest.resolution[side.metric])),
            )
            for side, points in found.items()
        ),
    )


def _points(excerpts: Sequence[Excerpt], side: Side) -> tuple[Point, ...]:
    return tuple(
        Point(
            run=each.run,
            started=each.started,
            commit=each.commit,
            value=estimate(list(each.measures[side].per_round.values())),
        )
        for each in excerpts
        if side in each.measures and side not in each.limited
    )


def _steps(
    side: Side, points: Sequence[Point], found: Mapping[Side, Sequence[Point]], resolution: float
) -> Iterator[Step]:
    at = steps([point.value.centre for point in points])
    edges = [0, *at, len(points)]
    for start, index, end in zip(edges, at, edges[2:], strict=False):
        before, after = _level(points[start:index]), _level(points[index:end])
        yield Step(
            at=index,
            run=points[index].run,
            commit=points[index].commit,
            before_commit=points[index - 1].commit,
            before=before,
            after=after,
            better=(after < before) == METRICS[side.metric].lower_is_better,
            matters=abs(math.log(after / before)) > math.log(resolution),
            machine=_machine(side, points[start:index], points[index:end], after / before, found),
        )


def _machine(
    side: Side,
    before: Sequence[Point],
    after: Sequence[Point],
    ratio: float,
    found: Mapping[Side, Sequence[Point]],
) -> str:
    """How the same path moved without the mesh between the same runs, where that is half the step or more."""
    path, dataplane = side.configuration.split(".")[:2]
    metric = FIRST_NEW if side.metric in FIRST.values() else side.metric
    direct = {point.run: point for point in found.get(Side(configuration=f"{path}.none", metric=metric), ())}
    levels = [[direct[point.run] for point in part if point.run in direct] for part in (before, after)]
    if dataplane == "none" or not all(levels):
        return ""
    moved = _level(levels[1]) / _level(levels[0])
    if math.log(moved) / math.log(ratio) < 1 / 2:
        return ""
    return f"without the mesh it moved by {(moved - 1) * 100:+.1f} % there too"


FIRST_NEW = "first.new"
"""What the first packet is called where there are no tunnels."""


def _level(points: Sequence[Point]) -> float:
    return float(np.median([point.value.centre for point in points]))
