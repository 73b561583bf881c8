"""Medians over rounds with exact intervals, and percentiles where there are samples enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom

CONFIDENCE = 0.95
"""Least coverage of an interval. With few rounds the exact one is higher, and the report says how high."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A median over rounds, with an interval where there are rounds enough for one."""

    median: float
    low: float | None
    high: float | None
    coverage: float | None
    """Exact probability that such an interval holds the true median; None without an interval."""
    rounds: int

    @property
    def has_interval(self) -> bool:
        """Whether anything may be claimed from it."""
        return self.low is not None

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {
            "median": self.median,
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
        median=float(np.median(ordered)),
        low=float(ordered[found[0] - 1]) if found else None,
        high=float(ordered[-found[0]]) if found else None,
        coverage=round(found[1], 4) if found else None,
        rounds=len(ordered),
    )


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
