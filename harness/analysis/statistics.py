"""Values over rounds with intervals, chance, and percentiles where there are samples enough.

`estimate` inverts the sign test: its interval holds the median of any distribution, as a metric's own values
need, which are skewed. `mean` gives paired differences Student's interval, at any level: those of two sides
measured in turns are nearly normal, an exact rank interval has no level but its own, and a run that looks at
its answers while it goes on needs others. `selftest --aa` holds it against noise that was measured.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm
from scipy.stats import t as student

from harness.suite.model import ROUNDS_FOR_AN_INTERVAL

CONFIDENCE = 0.95
"""Least coverage of an interval. With few rounds the exact one is higher, and the report says how high."""
EXACT = 2500
"""Largest n m for which the rank-sum distribution is counted out: 50 rounds against 50, a quarter second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A median or mean over rounds, with an interval where there are rounds enough for one."""

    centre: float
    low: float | None
    high: float | None
    coverage: float | None
    """Probability that such an interval holds the true value; None without an interval."""
    rounds: int

    @property
    def has_interval(self) -> bool:
        """Whether anything may be claimed from it."""
        return self.low is not None

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {
            "centre": self.centre,
            "low": self.low,
            "high": self.high,
            "coverage": self.coverage,
            "rounds": self.rounds,
        }


@cache
def interval_rank(n: int) -> tuple[int, float] | None:
    """Which order statistics bound the median of n values.

    The interval from the k-th least to the k-th greatest value holds the median with probability
    1 - 2 P(B <= k - 1), B binomial(n, 1/2), whatever the distribution: the sign test turned round.

    Returns:
        k (1 is the least value) and the coverage, for the narrowest interval of at least 95 %; None
        below 6 values, where even the widest covers less.

    Source: Conover, Practical Nonparametric Statistics, section 3.2; ISO 16269-7.
    """
    best = None
    for rank in range(1, n // 2 + 1):
        coverage = 1 - 2 * float(binom.cdf(rank - 1, n, 0.5))
        if coverage < CONFIDENCE:
            break
        best = (rank, coverage)
    return best


def estimate(values: Sequence[float] | NDArray[np.float64]) -> Estimate:
    """The median of one value per round, with the exact sign-test interval.

    Raises:
        ValueError: There are no values.
    """
    ordered = np.sort(np.asarray(values, dtype=float))
    if not len(ordered):
        raise ValueError("no rounds, no estimate")
    found = interval_rank(len(ordered))
    return Estimate(
        centre=float(np.median(ordered)),
        low=float(ordered[found[0] - 1]) if found else None,
        high=float(ordered[-found[0]]) if found else None,
        coverage=round(found[1], 4) if found else None,
        rounds=len(ordered),
    )


def mean(values: Sequence[float] | NDArray[np.float64], *, chance: float = 1 - CONFIDENCE) -> Estimate:
    """The mean of paired differences, one per round, with Student's interval.

    Args:
        values: At least one.
        chance: With which the interval may miss the truth.

    Returns:
        Without an interval below `ROUNDS_FOR_AN_INTERVAL` values.

    Raises:
        ValueError: There are no values.
    """
    array = np.asarray(values, dtype=float)
    if not len(array):
        raise ValueError("no rounds, no estimate")
    centre = float(array.mean())
    if len(array) < ROUNDS_FOR_AN_INTERVAL:
        return Estimate(centre=centre, low=None, high=None, coverage=None, rounds=len(array))
    reach = float(student.isf(chance / 2, len(array) - 1)) * standard_error(array)
    return Estimate(
        centre=centre,
        low=centre - reach,
        high=centre + reach,
        coverage=round(1 - chance, 4),
        rounds=len(array),
    )


def standard_error(values: NDArray[np.float64]) -> float:
    """Of the mean of at least two values."""
    return float(values.std(ddof=1)) / math.sqrt(len(values))


@cache
def between_rank(n: int, m: int) -> tuple[int, float] | None:
    """Which of the n m ordered differences of two independent samples bound the shift between them.

    Returns:
        k (1 is the least difference) and the coverage, for the narrowest interval of at least 95 %; None
        where even the widest covers less, as with 3 rounds on each side.

    Source: Hollander, Wolfe, Chicken, section 4.3. Exact while n m is at most `EXACT`, beyond that by
    the normal approximation, whose error is then below a thousandth.
    """
    if n * m > EXACT:
        mean, deviation = n * m / 2, math.sqrt(n * m * (n + m + 1) / 12)
        rank = math.floor(mean - float(norm.isf((1 - CONFIDENCE) / 2)) * deviation)
        return rank, 1 - 2 * float(norm.cdf((rank - 0.5 - mean) / deviation))
    below = np.cumsum(_rank_sum(n, m))
    rank = int(np.searchsorted(2 * below, 1 - CONFIDENCE, side="right"))
    return (rank, 1 - 2 * float(below[rank - 1])) if rank else None


def _rank_sum(n: int, m: int) -> NDArray[np.float64]:
    """Probability of each value, 0 to n m, of the Mann-Whitney statistic: a Gaussian binomial's terms."""
    terms = [1] + [0] * (n * m)
    for step in range(1, m + 1):
        for index in range(n * m, n + step - 1, -1):
            terms[index] -= terms[index - n - step]
        for index in range(step, n * m + 1):
            terms[index] += terms[index - step]
    total = math.comb(n + m, m)
    return np.array([term / total for term in terms])


def shift_between(of: NDArray[np.float64], against: NDArray[np.float64]) -> Estimate | None:
    """How far one sample lies above another, independent one, with the exact rank-sum interval.

    Returns:
        None where a side is empty.
    """
    if not len(of) or not len(against):
        return None
    differences = np.sort(np.subtract.outer(of, against).ravel())
    found = between_rank(len(of), len(against))
    return Estimate(
        centre=float(np.median(differences)),
        low=float(differences[found[0] - 1]) if found else None,
        high=float(differences[-found[0]]) if found else None,
        coverage=round(found[1], 4) if found else None,
        rounds=min(len(of), len(against)),
    )


def chance_between(of: NDArray[np.float64], against: NDArray[np.float64]) -> float | None:
    """As `chance`, of two independent samples: Welch's two-sided p; None below two values a side."""
    if min(len(of), len(against)) < 2:
        return None
    errors = np.array([of.var(ddof=1) / len(of), against.var(ddof=1) / len(against)])
    apart = abs(float(of.mean() - against.mean()))
    if not errors.any():
        return 1.0 if apart == 0 else 0.0
    freedom = errors.sum() ** 2 / (errors**2 / (len(of) - 1, len(against) - 1)).sum()
    return float(2 * student.sf(apart / math.sqrt(errors.sum()), freedom))


def chance(values: Sequence[float] | NDArray[np.float64]) -> float | None:
    """How often equal things would differ as much as these paired differences: Student's two-sided p.

    Returns:
        None below two values.
    """
    array = np.asarray(values, dtype=float)
    if len(array) < 2:
        return None
    error = standard_error(array)
    if error == 0:
        return 1.0 if array[0] == 0 else 0.0
    return float(2 * student.sf(abs(float(array.mean())) / error, len(array) - 1))


def samples_needed(quantile: float) -> int:
    """How many samples a percentile needs so that ten of them lie beyond it: 20 for p50, 1,000 for p99."""
    return math.ceil(round(10 / (1 - quantile), 6))


def percentile(values: NDArray[np.float64], quantile: float) -> float | None:
    """The percentile, or None where there are too few samples for it.

    Nearest rank from above, as order statistics are: a value that was measured, not one in between.
    """
    if len(values) < samples_needed(quantile):
        return None
    return float(np.quantile(values, quantile, method="higher"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Percentile:
    """A percentile of all rounds' samples together, with an interval where there are rounds enough."""

    value: float
    low: float | None
    high: float | None


def pooled_percentile(
    pooled: NDArray[np.float64], rounds: Sequence[NDArray[np.float64]], quantile: float
) -> Percentile | None:
    """A percentile whose interval knows that samples of one round share its weather.

    The share of samples below the percentile is a ratio over rounds; its 95 % interval, from how much
    the rounds' shares differ, is read off the pooled samples.

    Args:
        pooled: All samples, sorted.
        rounds: The same samples by round, in any order.

    Returns:
        None where the samples are too few for the percentile.

    Source: Woodruff, Confidence intervals for medians and other position measures, JASA 1952; with
    rounds as clusters: Francisco and Fuller, Annals of Statistics 1991.
    """
    value = percentile(pooled, quantile)
    if value is None:
        return None
    if interval_rank(len(rounds)) is None:
        return Percentile(value=value, low=None, high=None)
    sizes = np.array([len(each) for each in rounds], dtype=float)
    below = np.array([np.count_nonzero(each <= value) for each in rounds], dtype=float)
    spread = below - sizes * (below.sum() / sizes.sum())
    count = len(rounds)
    error = math.sqrt(count / (count - 1) * float(spread @ spread)) / float(sizes.sum())
    reach = float(student.ppf((1 + CONFIDENCE) / 2, count - 1)) * error
    low, high = quantile - reach, quantile + reach
    return Percentile(
        value=value,
        low=float(np.quantile(pooled, low, method="lower")) if low > 0 else None,
        high=float(np.quantile(pooled, high, method="higher")) if high < 1 else None,
    )
