"""Steps in a series of runs: where its level changed and stayed changed.

Found by PELT, which minimises squared distance from the levels plus a penalty for each step. `ruptures`
does it, and nothing else here knows of that. Taken over apache-otava, which pins versions of numpy and scipy
that this project cannot live with.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import ruptures
from numpy.typing import NDArray

LEAST = 6
"""Fewest runs of a series in which a step can be told from noise."""
STAYS = 2
"""Runs that a level has to last: a single one may be weather."""
PENALTY = 4.5
"""Of a step, in units of noise^2 ln(n). At 2, the information criterion's, one series in four of equal runs
shows a step; at 4.5 it is one in twelve of 6 to 10 runs, one in forty of 30; of steps of four standard
deviations 85 % are found in 10 runs, 95 % in 15 (simulated; `harness/tests/analysis/test_steps.py`)."""


def steps(values: Sequence[float]) -> list[int]:
    """Indices at which a new level begins, ascending; none in a series shorter than `LEAST`.

    Args:
        values: One per run, oldest first, above 0: levels are compared as ratios.

    Source: Killick, Fearnhead, Eckley, Optimal detection of changepoints with a linear cost, 2012.
    """
    if len(values) < LEAST:
        return []
    logarithms = np.log(np.asarray(values, dtype=float))
    spread = noise(logarithms)
    if spread == 0:
        spread = 1e-6  # equal values: any difference is a step
    search = ruptures.Pelt(model="l2", min_size=STAYS, jump=1).fit(without_spikes(logarithms))
    ends = search.predict(pen=PENALTY * spread**2 * math.log(len(values)))
    return [int(each) for each in ends[:-1]]


def without_spikes(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value's median with its two neighbours: one bad night goes, a step stays where it is."""
    padded = np.pad(values, 1, mode="edge")
    smoothed: NDArray[np.float64] = np.median([padded[:-2], values, padded[2:]], axis=0)
    return smoothed


def noise(values: NDArray[np.float64]) -> float:
    """Standard deviation of a series beside its steps, from neighbours' differences: a step is one of many.

    Source: the median absolute deviation is 0.6745 standard deviations of a normal distribution.
    """
    return float(np.median(np.abs(np.diff(values)))) / (0.6745 * math.sqrt(2))
