"""Paired ratios of two configurations, and what they allow to be said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.measures import METRICS
from harness.analysis.statistics import CONFIDENCE, Estimate, chance, rank_biserial, shift
from harness.suite.model import ROUNDS_FOR_AN_INTERVAL

Rounds = Mapping[int, float]
"""Round -> value of one metric in one configuration; only rounds whose cell may be used."""


class Word(StrEnum):
    """What a comparison says of the factor that is on against the one that is off."""

    COSTS = "costs"
    SAVES = "saves"
    NO_DIFFERENCE = "no difference"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a comparison: a metric of a configuration."""

    configuration: str
    """Its key."""
    metric: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One side against another, round by round."""

    factor: str
    label: str
    """What is compared with what, in words: `conntrack on / off`."""
    path: str
    of: Side
    against: Side
    ratio: Estimate | None
    """Centre of the rounds' ratios; None where no round has both sides."""
    per_round: Mapping[int, float]
    difference: Estimate | None
    """Centre of the rounds' differences, in the metric's unit."""
    effect: float | None
    """Rank-biserial correlation: 1 when every round says more, -1 when every round says less."""
    p: float | None
    """Of this comparison alone; None with fewer than two rounds."""
    p_family: float | None = None
    """Adjusted by Holm's procedure for the comparisons that answer the same question."""
    family: int = 1
    """How many those are."""
    word: Word
    because: str

    def document(self) -> dict[str, Any]:
        """As saved."""
        metric = METRICS[self.of.metric]
        return {
            "factor": self.factor,
            "label": self.label,
            "path": self.path,
            "metric": self.of.metric,
            "unit": metric.unit,
            "lower_is_better": metric.lower_is_better,
            "of": {"configuration": self.of.configuration, "metric": self.of.metric},
            "against": {"configuration": self.against.configuration, "metric": self.against.metric},
            "ratio": self.ratio.document() if self.ratio else None,
            "difference": self.difference.document() if self.difference else None,
            "per_round": {str(number): value for number, value in self.per_round.items()},
            "effect": self.effect,
            "p": self.p,
            "p_holm": self.p_family,
            "family": self.family,
            "verdict": self.word.value,
            "because": self.because,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """What a ratio is held against."""

    practical: float
    """Smallest ratio above 1 that matters, 1.05 for 5 %; its inverse below 1."""
    noise: Mapping[str, float]
    """Metric -> ratio (at or above 1) by which two equal configurations differed in this run."""

    @classmethod
    def of_percent(cls, percent: float, noise: Mapping[str, float]) -> Yardstick:
        """From the suite's threshold."""
        return cls(practical=1 + percent / 100, noise=noise)


def paired(of: Rounds, against: Rounds) -> tuple[dict[int, float], dict[int, float]]:
    """Ratio and difference of each round that has both sides."""
    both = sorted(set(of) & set(against))
    return {r: of[r] / against[r] for r in both}, {r: of[r] - against[r] for r in both}


def judge_ratio(ratio: Estimate | None, metric: str, yardstick: Yardstick) -> tuple[Word, str]:
    """The verdict on a ratio and its reason.

    No difference needs proof like any other claim: the whole interval within the practical
    threshold. A difference needs an interval that leaves out 1, and an effect larger than that
    threshold and than what two equal configurations showed in the same run. The rest stays open.
    """
    if ratio is None:
        return Word.INCONCLUSIVE, "no round in which both sides are valid"
    if ratio.low is None or ratio.high is None:
        because = f"{ratio.rounds} of the {ROUNDS_FOR_AN_INTERVAL} rounds that a 95 % interval needs"
        return Word.INCONCLUSIVE, because
    practical, percent = yardstick.practical, f"{(yardstick.practical - 1) * 100:.3g} %"
    if ratio.low >= 1 / practical and ratio.high <= practical:
        return Word.NO_DIFFERENCE, f"the whole interval lies within the practical threshold of {percent}"
    doubt = _doubt(ratio, yardstick.noise.get(metric, 1.0), practical, percent)
    if doubt:
        return Word.INCONCLUSIVE, doubt
    worse = (ratio.median > 1) == METRICS[metric].lower_is_better
    because = "the interval leaves out 1, and the effect exceeds the practical threshold and the noise floor"
    return (Word.COSTS if worse else Word.SAVES), because


def _doubt(ratio: Estimate, noise: float, practical: float, percent: str) -> str:
    """Why a ratio that reaches beyond the practical threshold is no proof of a difference, if it is none."""
    if ratio.low is not None and ratio.high is not None and ratio.low <= 1 <= ratio.high:
        return f"the interval holds 1 and reaches beyond the practical threshold of {percent}"
    effect = math.exp(abs(math.log(ratio.median)))
    if effect <= practical:
        return f"the interval leaves out 1, but its median is within the practical threshold of {percent}"
    if effect <= noise:
        return f"two equal configurations differed by {(noise - 1) * 100:.1f} % in this run, as much as these"
    return ""


def compare(
    *,
    factor: str,
    label: str,
    path: str,
    of: Side,
    against: Side,
    rounds: Mapping[Side, Rounds],
    limited: Mapping[Side, str],
    yardstick: Yardstick,
) -> Comparison:
    """Hold one side against another.

    Args:
        rounds: Values of every side that was measured.
        limited: Sides whose throughput is the generator's, with the reason: they enter no ratio.
        yardstick: What counts as a difference.
    """
    blocked = next(
        (f"{limited[side]}: at least that much, no ratio" for side in (of, against) if side in limited), ""
    )
    ratios, differences = ({}, {}) if blocked else paired(rounds.get(of, {}), rounds.get(against, {}))
    logarithms = np.log(list(ratios.values()))
    ratio = geometric(logarithms)
    word, because = judge_ratio(ratio, of.metric, yardstick)
    return Comparison(
        factor=factor,
        label=label,
        path=path,
        of=of,
        against=against,
        ratio=ratio,
        per_round=ratios,
        difference=shift(list(differences.values())) if differences else None,
        effect=rank_biserial(logarithms) if ratios else None,
        p=chance(logarithms),
        word=word,
        because=blocked or because,
    )


def geometric(logarithms: NDArray[np.float64]) -> Estimate | None:
    """Centre and interval of ratios, taken of their logarithms so that a/b and b/a say the same."""
    return exponential(shift(logarithms)) if len(logarithms) else None


def exponential(found: Estimate | None) -> Estimate | None:
    """A difference of logarithms as a ratio."""
    if found is None:
        return None
    return replace(
        found,
        median=math.exp(found.median),
        low=None if found.low is None else math.exp(found.low),
        high=None if found.high is None else math.exp(found.high),
    )


def holm(found: Sequence[float]) -> list[float]:
    """Adjust the p of a family so that any false claim in it is as rare as in a single comparison.

    Source: Holm, A simple sequentially rejective multiple test procedure, 1979.
    """
    adjusted, least = [1.0] * len(found), 0.0
    for rank, index in enumerate(sorted(range(len(found)), key=found.__getitem__)):
        least = max(least, min(1.0, (len(found) - rank) * found[index]))
        adjusted[index] = least
    return adjusted


def as_family(comparisons: Sequence[Comparison]) -> tuple[Comparison, ...]:
    """Judge comparisons together: a difference that the number of looks may explain is no claim."""
    tested = [each.p for each in comparisons if each.p is not None]
    adjusted = iter(holm(tested))
    return tuple(
        each if each.p is None else _in_family(each, next(adjusted), len(tested)) for each in comparisons
    )


def _in_family(comparison: Comparison, p: float, family: int) -> Comparison:
    found = replace(comparison, p_family=p, family=family)
    if comparison.word not in {Word.COSTS, Word.SAVES} or p <= 1 - CONFIDENCE:
        return found
    because = (
        f"the interval leaves out 1, but among {family} comparisons of this kind chance may do that: "
        f"p = {p:.2g} by Holm"
    )
    return replace(found, word=Word.INCONCLUSIVE, because=because)
