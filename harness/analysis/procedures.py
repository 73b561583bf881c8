"""How others measure, applied to noise that was recorded here: how often equal things come out different.

A published benchmark says how often it measured what, and what it printed. Each of those procedures is
repeated many times on two configurations that are equal, with noise as stored runs hold it: what one measures
seconds or minutes apart differs by what two rounds differ by, what another measures in turns by what two
lanes of one bout do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis.calibration import Weather
from harness.analysis.measures import METRICS
from harness.analysis.statistics import mean

EFFECT = 0.02
"""The difference that is looked for."""
REPEATS = 2000
OURS = 6
"""Rounds of a quick run."""

Noise = NDArray[np.float64]
Take = Callable[[Weather, np.random.Generator], tuple[float, bool]]
"""Measures two equal configurations once: their difference (logarithm), and whether it is called one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Procedure:
    """One way to compare two configurations."""

    name: str
    about: str
    """What is measured how often, and what is printed."""
    cells: int
    """Measurements of each side that it takes."""
    take: Take


@dataclass(frozen=True, slots=True, kw_only=True)
class Performance:
    """A procedure on the noise of one metric."""

    procedure: str
    about: str
    metric: str
    false: float
    """Share of repetitions that call equal things different."""
    width: float
    """Half of what 95 of 100 of its answers span, as a share: what it prints is only known to within that."""
    needs: int
    """Measurements of each side after which it would be known to within half of `EFFECT`."""

    def document(self) -> dict[str, Any]:
        """As printed with `--json`."""
        return asdict(self)


def perform(weathers: Mapping[str, Weather], *, seed: int, repeats: int = REPEATS) -> list[Performance]:
    """Every procedure on every metric that was recorded."""
    random = np.random.default_rng(seed)
    return [
        _performance(procedure, metric, weather, random, repeats)
        for metric, weather in weathers.items()
        if metric in METRICS and len(weather) >= OURS
        for procedure in PROCEDURES
    ]


def _performance(
    procedure: Procedure, metric: str, weather: Weather, random: np.random.Generator, repeats: int
) -> Performance:
    taken = [procedure.take(weather, random) for _ in range(repeats)]
    low, high = np.quantile([difference for difference, _ in taken], [0.025, 0.975])
    width = math.exp((high - low) / 2) - 1
    return Performance(
        procedure=procedure.name,
        about=procedure.about,
        metric=metric,
        false=sum(called for _, called in taken) / repeats,
        width=width,
        needs=max(procedure.cells, math.ceil(procedure.cells * (width / (EFFECT / 2)) ** 2)),
    )


def _apart(count: int, summary: Callable[[Noise], float]) -> Take:
    """One side, then the other: so many measurements each, all in different rounds."""

    def take(weather: Weather, random: np.random.Generator) -> tuple[float, bool]:
        start = int(random.integers(len(weather)))
        rounds = [weather[(start + step) % len(weather)] for step in range(2 * count)]
        values = np.array([float(random.choice(residuals)) for residuals in rounds])
        difference = summary(values[:count]) - summary(values[count:])
        return difference, abs(difference) >= EFFECT

    return take


def _in_turns(weather: Weather, random: np.random.Generator) -> tuple[float, bool]:
    """Both sides in every round, in turns, on lanes of one bout; an interval decides."""
    differences = []
    for number in random.integers(len(weather), size=OURS):
        one, other = random.choice(weather[number], size=2, replace=False)
        differences.append(one - other)
    found = mean(differences)
    called = found.low is not None and found.high is not None and not found.low <= 0 <= found.high
    return found.centre, called


def _without_worst(values: Noise) -> float:
    """The mean of all but the two that took longest."""
    return float(np.sort(values)[:-2].mean())


PROCEDURES: Sequence[Procedure] = (
    Procedure(
        name="one run each",
        about="each configuration once; the figures are printed side by side",
        cells=1,
        take=_apart(1, lambda values: float(values[0])),
    ),
    Procedure(
        name="mean of 3",
        about="each configuration three times, one after the other; the means are printed",
        cells=3,
        take=_apart(3, lambda values: float(values.mean())),
    ),
    Procedure(
        name="5 runs, 2 worst dropped",
        about="each configuration five times; the two worst are left out, the rest is averaged",
        cells=5,
        take=_apart(5, _without_worst),
    ),
    Procedure(
        name="two runs in a row",
        about="each configuration twice in a row; the means are printed",
        cells=2,
        take=_apart(2, lambda values: float(values.mean())),
    ),
    Procedure(
        name="in turns",
        about=f"this bench: both in turns in {OURS} rounds; a difference needs an interval that leaves out 1",
        cells=OURS,
        take=_in_turns,
    ),
)
