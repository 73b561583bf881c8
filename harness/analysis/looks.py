"""Looking again and again at a run that goes on, and what each look is charged.

A run adds rounds until its questions are answered. Whoever looks five times at an interval of 95 % is wrong
more often than 5 % of the time; so the 5 % are spent over the looks, in proportion to how much of the longest
run has been measured, and each look's intervals are as wide as its share asks for.

Source: Lan and DeMets, Discrete sequential boundaries for clinical trials, Biometrika 1983, with their
spending function of Pocock's type; the boundaries by the recursion of Armitage, McPherson and Rowe, JRSS A
1969; intervals that hold at every look: Jennison and Turnbull, Interim analyses, JRSS B 1989.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

from harness.analysis.statistics import CONFIDENCE

GRID = 801
"""Points at which the density of what is undecided is kept; the levels are good to 1e-5."""


def chance_at(look: int, planned: Sequence[int]) -> float:
    """With which chance an interval at a look may miss, so that all looks together miss in 5 % of runs.

    Args:
        look: Rounds that have been measured.
        planned: Rounds after which the run looks, ascending; the last one is its end.

    Returns:
        Of the first planned look that is not before `look`: a run that was broken off is charged for the look
        that it was on its way to. With one planned look, 5 %.
    """
    at = next((index for index, rounds in enumerate(planned) if rounds >= look), len(planned) - 1)
    return _levels(tuple(planned))[at]


def _spent(share: float) -> float:
    return (1 - CONFIDENCE) * math.log(1 + (math.e - 1) * share)


@cache
def _levels(planned: tuple[int, ...]) -> tuple[float, ...]:
    """Two-sided level of each look."""
    times = np.array(planned) / planned[-1]
    spends = np.diff([0.0, *map(_spent, times)])
    undecided = _Undecided.first(times[0], spends[0])
    levels = [float(spends[0])]
    for time, spend in zip(times[1:], spends[1:], strict=True):
        undecided, level = undecided.later(time, spend)
        levels.append(level)
    return tuple(levels)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Undecided:
    """Where a Brownian motion may be at a look, on the paths that have crossed no bound so far."""

    time: float
    points: NDArray[np.float64]
    density: NDArray[np.float64]

    @classmethod
    def first(cls, time: float, spend: float) -> Self:
        reach = float(norm.isf(spend / 2)) * math.sqrt(time)
        points = np.linspace(-reach, reach, GRID)
        return cls(time=time, points=points, density=norm.pdf(points, scale=math.sqrt(time)))

    def later(self, time: float, spend: float) -> tuple[Self, float]:
        """The same at the next look, and the level at which paths cross there with probability `spend`."""
        step = math.sqrt(time - self.time)

        def crossing(bound: float) -> float:
            reach = bound * math.sqrt(time)
            beyond = norm.sf((reach - self.points) / step) + norm.cdf((-reach - self.points) / step)
            return float(np.trapezoid(self.density * beyond, self.points))

        bound = float(brentq(lambda bound: crossing(bound) - spend, 0.5, 8.0))
        reach = bound * math.sqrt(time)
        points = np.linspace(-reach, reach, GRID)
        moves = norm.pdf((points[:, None] - self.points[None, :]) / step) / step
        density = np.trapezoid(moves * self.density[None, :], self.points, axis=1)
        return type(self)(time=time, points=points, density=density), 2 * float(norm.sf(bound))
