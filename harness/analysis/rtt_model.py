"""How many round trips a first packet pays: latency over the distance between the nodes.

Distances are varied, all else is kept. Whatever computing costs is the same at every distance, so the line
through a round's latencies has the number of round trips as its slope and the computing as its intercept. A
slope settles the number when its interval holds no neighbouring integer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.stats import theilslopes

from harness.analysis.compare import Rounds, Side
from harness.analysis.judge import JudgedCell
from harness.analysis.measures import FIRST
from harness.analysis.statistics import Estimate, estimate
from harness.plan.model import ROUND_TRIPS, Configuration, State

DISTANCES = 3
"""Fewest distances of a round through which a line is laid."""
IN_CELLS = "around the cells' load"
METRICS = {**FIRST, State.STEADY: "steady"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """The delay line at one distance and on one way: before the cells, or around their load."""

    way: str
    kind: str
    rtt_ms: int
    n: int
    median_s: float
    p10_s: float
    p90_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The delay line fitted: seconds that a round trip over it takes, from what was asked for."""

    legs: tuple[Leg, ...]
    own_s: float
    """What it takes by itself, at no distance."""
    factor: float
    """Seconds per second asked for."""

    def rtt_s(self, rtt_ms: int) -> float:
        """The distance as packets meet it."""
        return self.own_s + self.factor * rtt_ms / 1000

    @property
    def error_s(self) -> float:
        """By how much the fit misses a measured median, on average."""
        delayed = [leg for leg in self.legs if leg.rtt_ms]
        return float(np.mean([abs(self.rtt_s(leg.rtt_ms) - leg.median_s) for leg in delayed]))

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {
            "own_s": self.own_s,
            "factor": self.factor,
            "error_s": self.error_s,
            "legs": [{name: getattr(leg, name) for name in Leg.__dataclass_fields__} for leg in self.legs],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Slope:
    """One state's line: how many round trips it pays, and how much it pays at no distance."""

    configuration: Configuration
    """At no distance."""
    metric: str
    expected: int
    points: Mapping[float, float]
    """Distance -> median latency over the rounds, seconds both."""
    trips: Estimate | None
    """None where no round has distances enough."""
    intercept_s: float | None

    @property
    def found(self) -> int | None:
        """The number of round trips, once the interval leaves no other; else None."""
        if self.trips is None or self.trips.low is None or self.trips.high is None:
            return None
        nearest = round(self.trips.centre)
        return nearest if nearest - 1 < self.trips.low and self.trips.high < nearest + 1 else None

    @property
    def verdict(self) -> str:
        """In the words of other verdicts."""
        if self.found is None:
            return "open"
        return "holds" if self.found == self.expected else "does not hold"

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {
            "configuration": self.configuration.key,
            "metric": self.metric,
            "expected": self.expected,
            "found": self.found,
            "verdict": self.verdict,
            "trips": self.trips.document() if self.trips else None,
            "intercept_s": self.intercept_s,
            "points": [{"rtt_s": rtt_s, "latency_s": found} for rtt_s, found in self.points.items()],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class RttModel:
    """What distance says of a run."""

    line: Line
    slopes: tuple[Slope, ...]

    def settled(self, metric: str) -> list[Slope]:
        """The slopes of a metric that settle a number."""
        return [each for each in self.slopes if each.metric == metric and each.found is not None]

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {"line": self.line.document(), "slopes": [each.document() for each in self.slopes]}


def rtt_model(
    trips: Sequence[Mapping[str, Any]],
    configurations: Sequence[Configuration],
    rounds: Mapping[Side, Rounds],
) -> RttModel | None:
    """Fit the delay line, then every state's latency over it.

    Args:
        trips: Round trips over the line, as `harness.results` reads them and `in_cells` finds them.
        configurations: Of the run.
        rounds: Metric of a configuration -> round -> median latency, seconds; valid cells alone.

    Returns:
        None where no distance was varied, or the line was not measured.
    """
    line = fit(trips)
    if line is None:
        return None
    families: dict[Configuration, list[Configuration]] = {}
    for each in configurations:
        if each.rtt_ms:
            families.setdefault(replace(each, rtt_ms=0), []).append(each)
    slopes = [slope for bare, family in families.items() for slope in _slopes(bare, family, line, rounds)]
    return RttModel(line=line, slopes=tuple(slopes))


def in_cells(cells: Iterable[JudgedCell]) -> Iterator[dict[str, Any]]:
    """The round trips of all valid cells, distance by distance, in the form of those before them."""
    found: dict[tuple[str, int], list[int]] = {}
    for cell in cells:
        if cell.usable and cell.configuration.rtt_ms:
            line = cell.case.delay
            found.setdefault((line.kind, cell.configuration.rtt_ms), []).extend(line.trips_ns)
    for (kind, rtt_ms), trips in sorted(found.items()):
        yield {"way": IN_CELLS, "kind": kind, "rtt_ms": rtt_ms, "trips_ns": trips}


def fit(trips: Iterable[Mapping[str, Any]]) -> Line | None:
    """The line through the medians at each distance, of all ways; None with fewer than two distances."""
    legs, pooled = [], dict[int, list[Any]]()
    for each in trips:
        times = np.asarray(each["trips_ns"], dtype=float)
        pooled.setdefault(int(each["rtt_ms"]), []).append(times)
        p10, median, p90 = np.percentile(times / 1e9, [10, 50, 90])
        legs.append(
            Leg(
                way=each.get("way") or f"{each['from']} to {each['to']}",
                kind=str(each["kind"]),
                rtt_ms=int(each["rtt_ms"]),
                n=len(each["trips_ns"]),
                median_s=float(median),
                p10_s=float(p10),
                p90_s=float(p90),
            )
        )
    medians = {
        rtt_ms / 1000: float(np.median(np.concatenate(times)) / 1e9)
        for rtt_ms, times in pooled.items()
        if rtt_ms
    }
    if len(medians) < 2:
        return None
    factor, own_s, _, _ = theilslopes(list(medians.values()), list(medians))
    return Line(legs=tuple(legs), own_s=float(own_s), factor=float(factor))


def _slopes(
    bare: Configuration, family: Sequence[Configuration], line: Line, rounds: Mapping[Side, Rounds]
) -> Iterator[Slope]:
    for state in bare.states:
        metric = METRICS[state]
        latencies = {
            line.rtt_s(each.rtt_ms): rounds.get(Side(configuration=each.key, metric=metric), {})
            for each in sorted(family, key=lambda each: each.rtt_ms)
        }
        lines = list(_through(latencies))
        yield Slope(
            configuration=bare,
            metric=metric,
            expected=ROUND_TRIPS[state],
            points={
                rtt_s: float(np.median(list(found.values()))) for rtt_s, found in latencies.items() if found
            },
            trips=estimate([slope for slope, _ in lines]) if lines else None,
            intercept_s=float(np.median([intercept for _, intercept in lines])) if lines else None,
        )


def _through(latencies: Mapping[float, Rounds]) -> Iterator[tuple[float, float]]:
    """Slope and intercept of each round with distances enough: the median of all its pairs' slopes."""
    for number in sorted({number for found in latencies.values() for number in found}):
        points = [(rtt_s, found[number]) for rtt_s, found in latencies.items() if number in found]
        if len(points) >= DISTANCES:
            slope, intercept, _, _ = theilslopes([y for _, y in points], [x for x, _ in points])
            yield float(slope), float(intercept)
