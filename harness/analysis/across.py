"""Runs held against each other: refuse what is unlike, judge what changed.

Rounds of two runs are no pairs, so the interval is that of two independent samples. What the mesh has no
part in shows how far the machine itself moved between the runs: a change whose interval reaches into what
the configurations without a data plane changed by is the machine's as well as the mesh's, so it stays open.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np

from harness.analysis.compare import Comparison, Side, Word, Yardstick, as_family, exponential, judge_ratio
from harness.analysis.excerpt import Excerpt, Kept
from harness.analysis.measures import COSTS, FIRST, METRICS
from harness.analysis.statistics import CONFIDENCE, Estimate, chance_between, shift_between


class Change(StrEnum):
    """What became of a metric."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    OPEN = "open"


CHANGES = {
    Word.COSTS: Change.WORSE,
    Word.SAVES: Change.BETTER,
    Word.NO_DIFFERENCE: Change.SAME,
    Word.OPEN: Change.OPEN,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """One metric of one configuration in both runs."""

    side: Side
    unit: str
    before: float
    """Median over the reference's rounds."""
    after: float
    comparison: Comparison

    @property
    def change(self) -> Change:
        """Its verdict."""
        return CHANGES[self.comparison.word]

    def document(self) -> dict[str, Any]:
        """As printed."""
        found = self.comparison.document()
        return {
            "configuration": self.side.configuration,
            "metric": self.side.metric,
            "unit": self.unit,
            "before": self.before,
            "after": self.after,
            **{key: found[key] for key in ("ratio", "p", "p_holm", "family", "because")},
            "verdict": self.change.value,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    """A run against a reference."""

    reference: str
    run: str
    unlike: tuple[str, ...]
    """What differs although it should not, one sentence each; only where the comparison was forced."""
    moved: tuple[Moved, ...]
    missing: tuple[str, ...]
    """What only one of the two has measured."""
    noise: Mapping[str, float]
    """Metric -> ratio, at or above 1, by which equal configurations differed in either run."""
    drift: Mapping[str, float]
    """Metric -> ratio, at or above 1, by which what the mesh has no part in moved between the runs."""

    def of(self, change: Change) -> list[Moved]:
        """What came to that verdict."""
        return [each for each in self.moved if each.change is change]

    def document(self) -> dict[str, Any]:
        """As printed."""
        return {
            "reference": self.reference,
            "run": self.run,
            "forced": bool(self.unlike),
            "unlike": list(self.unlike),
            "noise_percent": percents_of(self.noise),
            "drift_percent": percents_of(self.drift),
            "counts": {change.value: len(self.of(change)) for change in Change},
            "metrics": [each.document() for each in self.moved],
            "missing": list(self.missing),
        }


def percents_of(ratios: Mapping[str, float]) -> dict[str, float]:
    """Ratios at or above 1 as per cent beyond it, sorted by metric."""
    return {metric: round((ratio - 1) * 100, 2) for metric, ratio in sorted(ratios.items())}


def unlike(reference: Excerpt, run: Excerpt) -> list[str]:
    """What makes two runs incomparable, one sentence each; empty for alike ones."""
    ours, theirs = asdict(run.fingerprint), asdict(reference.fingerprint)
    return [
        f"{name}: {theirs[name]} in {reference.run}, {ours[name]} in {run.run}"
        for name in ours
        if ours[name] != theirs[name]
    ]


def across(reference: Excerpt, run: Excerpt) -> Across:
    """Judge every metric that both runs measured: times as one family, costs as another."""
    both = [side for side in reference.measures if side in run.measures]
    noise = {
        metric: max(reference.noise.get(metric, 1.0), run.noise.get(metric, 1.0))
        for metric in {**reference.noise, **run.noise}
    }
    judge = _Judge(
        limited={**reference.limited, **run.limited},
        yardstick=Yardstick(resolution=reference.resolution, noise={}),
        noise=noise,
        drift=_drift(reference, run, both),
    )
    judged = [
        each
        for question in (set(METRICS) - set(COSTS), set(COSTS))
        for each in as_family(
            [judge(reference.measures[side], run.measures[side]) for side in both if side.metric in question],
            1 - CONFIDENCE,
        )
    ]
    one_sided = {*reference.measures, *run.measures} - set(both)
    if not any(side.metric in COSTS for side in both):  # one of them is from before costs were read
        one_sided = {side for side in one_sided if side.metric not in COSTS}
    return Across(
        reference=reference.run,
        run=run.run,
        unlike=tuple(unlike(reference, run)),
        moved=tuple(_moved(each, reference, run) for each in judged),
        missing=tuple(sorted(f"{side.configuration} {side.metric}" for side in one_sided)),
        noise=noise,
        drift=judge.drift,
    )


def _moved(comparison: Comparison, reference: Excerpt, run: Excerpt) -> Moved:
    side = comparison.of
    return Moved(
        side=side,
        unit=METRICS[side.metric].unit,
        before=_median(reference.measures[side]),
        after=_median(run.measures[side]),
        comparison=comparison,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judge:
    """What all metrics of two runs have in common."""

    limited: Mapping[Side, str]
    yardstick: Yardstick
    noise: Mapping[str, float]
    drift: Mapping[str, float]

    def __call__(self, before: Kept, after: Kept) -> Comparison:
        side = before.side
        of, against = (np.log(list(each.per_round.values())) for each in (after, before))
        shift = None if side in self.limited else shift_between(of, against)
        ratio = None if shift is None else exponential(shift)
        path = side.configuration.split(".", 1)[0]
        floor = {(path, side.metric): self.noise.get(side.metric, 1.0)}
        word, because = judge_ratio(ratio, path, side.metric, replace(self.yardstick, noise=floor))
        if word in {Word.COSTS, Word.SAVES} and ratio and not _without_mesh(side):
            word, because = self._beyond_drift(ratio, side.metric, word, because)
        if side in self.limited:
            because = f"{self.limited[side]}: at least that much, no ratio"
        return Comparison(
            factor="run",
            label="after / before",
            path=path,
            of=side,
            against=side,
            ratio=ratio,
            per_round={},
            difference=None,
            p=chance_between(of, against) if ratio else None,
            word=word,
            because=because,
        )

    def _beyond_drift(self, ratio: Estimate, metric: str, word: Word, because: str) -> tuple[Word, str]:
        drift = self.drift.get(metric, 1.0)
        ends = [abs(math.log(end)) for end in (ratio.low, ratio.high) if end is not None]
        if min(ends) > math.log(drift):
            return word, because
        moved = f"without the mesh the same metric moved by {(drift - 1) * 100:.1f} %"
        return Word.OPEN, f"{moved}, and the interval reaches into that"


def _median(kept: Kept) -> float:
    return float(np.median(list(kept.per_round.values())))


def _without_mesh(side: Side) -> bool:
    return side.configuration.split(".")[1:] == ["none"]


def _drift(reference: Excerpt, run: Excerpt, both: Iterable[Side]) -> dict[str, float]:
    """Metric -> ratio, at or above 1, by which configurations without a data plane moved, at most."""
    found: dict[str, float] = {}
    for side in filter(_without_mesh, both):
        moved = _median(run.measures[side]) / _median(reference.measures[side])
        for metric in FIRST.values() if side.metric in FIRST.values() else (side.metric,):
            found[metric] = max(found.get(metric, 1.0), math.exp(abs(math.log(moved))))
    return found
