"""Ratios of two sides that were measured in turns, and what they allow to be said."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from harness.analysis.measures import METRICS
from harness.analysis.statistics import CONFIDENCE, Estimate, chance, mean, standard_error
from harness.suite.model import ROUNDS_FOR_AN_INTERVAL

Occasion = tuple[int, int]
"""A round, and the bout in it."""
Values = Mapping[Occasion, float]
"""Value of one metric in one configuration on each occasion whose cell may be used."""
Rounds = Mapping[int, float]
"""The same by round."""

POWER = 0.8
"""With which probability a difference of the size that `seen` names is found."""
MOST_ROUNDS = 1_000
"""Beyond so many, it is no use to say how many rounds would settle a question."""


class Bound(StrEnum):
    """What a ratio says of the true one, where the load generator bounded a side."""

    NONE = ""
    AT_LEAST = "at least"
    AT_MOST = "at most"


class Word(StrEnum):
    """What a comparison says of the factor that is on against the one that is off."""

    COSTS = "costs"
    SAVES = "saves"
    NO_DIFFERENCE = "no difference"
    OPEN = "open"


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
    """Geometric mean of the rounds' ratios; None where no round has both sides."""
    bound: Bound = Bound.NONE
    per_round: Rounds
    difference: Estimate | None
    """Mean of the rounds' differences, in the metric's unit."""
    seen: float | None = None
    """Ratio above 1: a difference of that size would have been found in `POWER` of such runs."""
    needs: int | None = None
    """Rounds that would settle an open question, as far as these tell; None: too many, or none is open."""
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
            "bound": self.bound.value,
            "difference": self.difference.document() if self.difference else None,
            "per_round": {str(number): value for number, value in self.per_round.items()},
            "seen": self.seen,
            "needs": self.needs,
            "p": self.p,
            "p_holm": self.p_family,
            "family": self.family,
            "verdict": self.word.value,
            "because": self.because,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Yardstick:
    """What a ratio is held against."""

    resolution: Mapping[str, float]
    """Metric -> smallest ratio above 1 that matters, 1.05 for 5 %; its inverse below 1."""
    noise: Mapping[tuple[str, str], float]
    """Path and metric -> ratio (at or above 1) by which equal configurations differed in this run."""
    chance: float = 1 - CONFIDENCE
    """With which the intervals may miss: less than 5 % where the run is looked at more than once."""


def paired(of: Values, against: Values) -> dict[int, list[tuple[float, float]]]:
    """Round -> the values of both sides that are held against each other.

    Where both stand in one bout, that bout alone is compared, as the two were measured in turns there; there
    may be several such bouts. Sides that never share a bout are held against each other round by round.
    """
    rounds: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for number, bout in sorted(set(of) & set(against)):
        rounds[number].append((of[number, bout], against[number, bout]))
    if rounds:
        return rounds
    mine, theirs = by_round(of), by_round(against)
    return {number: [(mine[number], theirs[number])] for number in sorted(set(mine) & set(theirs))}


def by_round(values: Values) -> dict[int, float]:
    """One value per round: the mean over the bouts in which the configuration stands."""
    rounds: dict[int, list[float]] = defaultdict(list)
    for (number, _), value in sorted(values.items()):
        rounds[number].append(value)
    return {number: sum(found) / len(found) for number, found in rounds.items()}


def judge_ratio(ratio: Estimate | None, path: str, metric: str, yardstick: Yardstick) -> tuple[Word, str]:
    """The verdict on a ratio and its reason.

    No difference needs proof like any other claim: the whole interval within the resolution. A difference
    needs an interval that leaves out 1, and an effect beyond what two equal configurations showed on the same
    path. The rest stays open.
    """
    if ratio is None:
        return Word.OPEN, "no round in which both sides are valid"
    if ratio.low is None or ratio.high is None:
        return Word.OPEN, _too_few(ratio)
    resolution = yardstick.resolution[metric]
    percent = f"{(resolution - 1) * 100:.3g} %"
    if ratio.low >= 1 / resolution and ratio.high <= resolution:
        return Word.NO_DIFFERENCE, f"the whole interval lies within the resolution of {percent}"
    if ratio.low <= 1 <= ratio.high:
        return Word.OPEN, f"the interval holds 1 and reaches beyond the resolution of {percent}"
    noise = yardstick.noise.get((path, metric), 1.0)
    if abs(math.log(ratio.centre)) <= math.log(noise):
        because = (
            f"two equal configurations differed by {(noise - 1) * 100:.1f} % on this path, as much as these"
        )
        return Word.OPEN, because
    because = "the interval leaves out 1, and the effect exceeds what equal configurations showed"
    return _direction(ratio.centre > 1, metric), because


def judge_difference(difference: Estimate, metric: str, why: str) -> tuple[Word, str]:
    """The verdict where there is no ratio, by the difference in the metric's own unit.

    Args:
        why: Why there is none, to begin the reason with.
    """
    if difference.low is None or difference.high is None:
        return Word.OPEN, f"{why}; {_too_few(difference)}"
    if difference.low <= 0 <= difference.high:
        return Word.OPEN, f"{why}; the interval of the difference holds 0"
    return _direction(difference.centre > 0, metric), f"{why}; the interval of the difference leaves out 0"


def _too_few(found: Estimate) -> str:
    return f"{found.rounds} of the {ROUNDS_FOR_AN_INTERVAL} rounds that an interval needs"


def _direction(more: bool, metric: str) -> Word:
    return Word.COSTS if more == METRICS[metric].lower_is_better else Word.SAVES


def compare(
    *,
    factor: str,
    label: str,
    path: str,
    of: Side,
    against: Side,
    values: Mapping[Side, Values],
    limited: Mapping[Side, str],
    yardstick: Yardstick,
) -> Comparison:
    """Hold one side against another, by ratios; where a value is no positive number, by differences.

    Args:
        values: Of every side that was measured.
        limited: Sides whose figures are the generator's, with the reason: their ratios are bounds.
        yardstick: What counts as a difference.
    """
    pairs = paired(values.get(of, {}), values.get(against, {}))
    no_ratio = _no_ratio(of.metric, pairs)
    ratios = {} if no_ratio else {number: _mean_ratio(found) for number, found in pairs.items()}
    logarithms = np.log(list(ratios.values()))
    ratio = exponential(mean(logarithms, chance=yardstick.chance)) if ratios else None
    differences = [sum(one - other for one, other in found) / len(found) for found in pairs.values()]
    difference = mean(differences, chance=yardstick.chance) if pairs else None
    if no_ratio and difference:
        word, because = judge_difference(difference, of.metric, no_ratio)
    else:
        word, because = judge_ratio(ratio, path, of.metric, yardstick)
    bound = _bound(of, against, limited)
    if reason := next((limited[side] for side in (against, of) if side in limited), ""):
        word, because = _within(bound, ratio, word, f"{reason}: a bound", because)
    return Comparison(
        factor=factor,
        label=label,
        path=path,
        of=of,
        against=against,
        ratio=ratio,
        bound=bound,
        per_round=ratios,
        difference=difference,
        seen=_seen(logarithms, yardstick.chance),
        needs=_needs(logarithms, yardstick, of.metric) if word is Word.OPEN and not bound else None,
        p=chance(differences if no_ratio else logarithms),
        word=word,
        because=because,
    )


def _bound(of: Side, against: Side, limited: Mapping[Side, str]) -> Bound:
    """What a ratio says where one side is bounded: a throughput that was limited is at least that high."""
    if (of in limited) == (against in limited):
        return Bound.NONE
    limited_is_less = (of in limited) == METRICS[of.metric].lower_is_better
    return Bound.AT_MOST if limited_is_less else Bound.AT_LEAST


def _within(bound: Bound, ratio: Estimate | None, word: Word, why: str, because: str) -> tuple[Word, str]:
    """A verdict that still stands whatever the true figure behind a bound is, or none."""
    beyond = (
        ratio is not None
        and ratio.low is not None
        and ratio.high is not None
        and (ratio.high < 1 if bound is Bound.AT_MOST else ratio.low > 1)
    )
    if bound and beyond and word in {Word.COSTS, Word.SAVES}:
        return word, f"{because}; {why}, and the true ratio is farther from 1"
    return Word.OPEN, why


def _no_ratio(metric: str, pairs: Mapping[int, Sequence[tuple[float, float]]]) -> str:
    """Why there are no ratios, empty where there are; to leave such a round out would be to choose."""
    rounds = [number for number, found in pairs.items() if min(min(both) for both in found) <= 0]
    named = ", ".join(map(str, rounds))
    return f"{METRICS[metric].title} was not above 0 in round {named}, so no ratio is taken" if rounds else ""


def _mean_ratio(found: Sequence[tuple[float, float]]) -> float:
    return math.exp(sum(math.log(one / other) for one, other in found) / len(found))


def _seen(logarithms: NDArray[np.float64], chance: float) -> float | None:
    if len(logarithms) < ROUNDS_FOR_AN_INTERVAL:
        return None
    freedom = len(logarithms) - 1
    reach = float(student.isf(chance / 2, freedom) + student.isf(1 - POWER, freedom))
    return math.exp(reach * standard_error(logarithms))


def _needs(logarithms: NDArray[np.float64], yardstick: Yardstick, metric: str) -> int | None:
    """Rounds after which an interval around the same centre, from rounds as noisy, would say something."""
    if len(logarithms) < ROUNDS_FOR_AN_INTERVAL:
        return None
    centre, spread = abs(float(logarithms.mean())), float(logarithms.std(ddof=1))
    room = max(centre, math.log(yardstick.resolution[metric]) - centre)
    enough = np.flatnonzero(_reaches(yardstick.chance)[len(logarithms) - 1 :] * spread < room)
    return len(logarithms) + 1 + int(enough[0]) if len(enough) else None


@cache
def _reaches(chance: float) -> NDArray[np.float64]:
    """Half-widths of intervals of 2, 3, ... rounds with a spread of 1."""
    rounds = np.arange(2, MOST_ROUNDS + 1)
    reaches: NDArray[np.float64] = student.isf(chance / 2, rounds - 1) / np.sqrt(rounds)
    return reaches


def exponential(found: Estimate) -> Estimate:
    """A difference of logarithms as a ratio."""
    return replace(
        found,
        centre=math.exp(found.centre),
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


def as_family(comparisons: Sequence[Comparison], level: float) -> tuple[Comparison, ...]:
    """Judge comparisons together: a difference that the number of looks may explain is no claim.

    Args:
        comparisons: That answer one question.
        level: Greatest p, adjusted, of a claim.
    """
    tested = [each.p for each in comparisons if each.p is not None]
    adjusted = iter(holm(tested))
    return tuple(
        each if each.p is None else _in_family(each, next(adjusted), len(tested), level)
        for each in comparisons
    )


def _in_family(comparison: Comparison, p: float, family: int, level: float) -> Comparison:
    found = replace(comparison, p_family=p, family=family)
    if comparison.word not in {Word.COSTS, Word.SAVES} or p <= level:
        return found
    because = (
        f"the interval leaves out 1, but among {family} comparisons of this kind chance may do that: "
        f"p = {p:.2g} by Holm"
    )
    return replace(found, word=Word.OPEN, because=because)
