"""How often the statistics claim what is not there, and how often they miss what is.

The noise is not assumed but recorded: each simulated round takes the residuals of two configurations
in one round of a stored run, so that a burst meets both sides as it did there, and the simulated pair
goes through the same `compare` as a real one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.analysis import contrasts
from harness.analysis.compare import (
    Comparison,
    Occasion,
    Side,
    Values,
    Word,
    Yardstick,
    as_family,
    compare,
)
from harness.analysis.excerpt import Excerpt
from harness.analysis.measures import METRICS
from harness.analysis.statistics import CONFIDENCE

FLAGGED = (0.035, 0.065)
"""Share of simulated equal pairs whose interval may leave out 1: 5 % of 2,000 and three standard errors."""
REAL_PAIRS = 20
REAL_FLAGS = 3
"""Most flags among so many real pairs: 4 or more of 20 at 5 % each has a probability of 1.6 %."""
POWER = 0.95
EFFECT = 1.10
METRIC = "first.warm"
"""What the slowdown is looked for in: the first packet through a tunnel that exists."""
FAMILY = 10
"""Comparisons judged together in the simulation after Holm."""
CURVE = (6, 10, 20, 40)
"""Rounds for which power is told, beside the nightly's own."""

_OF, _AGAINST = "of", "against"
_NO_FLOOR = Yardstick(resolution=dict.fromkeys(METRICS, 1.0), noise={})

Weather = Sequence[NDArray[np.float64]]
"""One array per recorded bout of a round: each configuration's residual, in logarithms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One line of the calibration."""

    name: str
    found: int
    of: int
    least: float
    """Bounds of the share."""
    most: float
    detail: str

    @property
    def share(self) -> float:
        """Found, of all."""
        return self.found / self.of if self.of else math.nan

    @property
    def good(self) -> bool:
        """Whether the share lies within its bounds."""
        return bool(self.of) and self.least <= self.share <= self.most

    def document(self) -> dict[str, Any]:
        """As printed with `--json`."""
        return {**asdict(self), "share": self.share if self.of else None, "good": self.good}


def weather(excerpts: Sequence[Excerpt], metric: str) -> Weather:
    """Every recorded bout's residuals of a metric: value against its configuration's own mean.

    The mean is taken over rounds, which takes a share of 1 / rounds out of the spread; it is given back.
    """
    found: list[NDArray[np.float64]] = []
    for each in excerpts:
        by_bout: dict[Occasion, list[float]] = {}
        for side, values in each.values.items():
            if side.metric != metric or side in each.limited or len(values) < 3 or min(values.values()) <= 0:
                continue
            centre = float(np.mean(np.log(list(values.values()))))
            restored = math.sqrt(len(values) / (len(values) - 1))
            for occasion, value in values.items():
                by_bout.setdefault(occasion, []).append((math.log(value) - centre) * restored)
        found += [np.array(values) for values in by_bout.values() if len(values) > 1]
    return found


def simulated(
    found: Weather, *, metric: str, rounds: int, effect: float, random: np.random.Generator
) -> Comparison:
    """One comparison of two configurations that differ by `effect` alone."""
    of, against = {}, {}
    for number in range(rounds):
        residuals = found[int(random.integers(len(found)))]
        one, other = random.choice(len(residuals), size=2, replace=False)
        of[number, 0] = effect * math.exp(residuals[one])
        against[number, 0] = math.exp(residuals[other])
    return _compared({_OF: of, _AGAINST: against}, metric)


def equal_pairs(
    excerpts: Sequence[Excerpt], weathers: Mapping[str, Weather], *, count: int, rounds: int, seed: int
) -> list[Outcome]:
    """Simulated and real A/A comparisons.

    Args:
        count: How many to simulate, over all metrics that were recorded.
        rounds: Of each.
    """
    random = np.random.default_rng(seed)
    metrics = [metric for metric, found in weathers.items() if found]
    pairs = [
        simulated(weathers[metric], metric=metric, rounds=rounds, effect=1.0, random=random)
        for metric in (metrics[number % len(metrics)] for number in range(count))
    ]
    families = [as_family(pairs[start : start + FAMILY], 1 - CONFIDENCE) for start in range(0, count, FAMILY)]
    false = sum(any(each.word in {Word.COSTS, Word.SAVES} for each in family) for family in families)
    real = real_pairs(excerpts)
    flagged = [each for each in real if leaves_out_one(each)]
    return [
        Outcome(
            name="simulated A/A, before Holm",
            found=sum(map(leaves_out_one, pairs)),
            of=count,
            least=FLAGGED[0],
            most=FLAGGED[1],
            detail=f"{rounds} rounds, over {', '.join(metrics)}",
        ),
        Outcome(
            name="simulated A/A, after Holm",
            found=false,
            of=len(families),
            least=0.0,
            most=FLAGGED[1],
            detail=f"families of {FAMILY} with a claim in them, no resolution",
        ),
        Outcome(
            name="real A/A, before Holm",
            found=len(flagged),
            of=len(real),
            least=0.0,
            most=REAL_FLAGS / REAL_PAIRS,
            detail=", ".join(f"{each.of.metric} {each.path}" for each in flagged) or "none flagged",
        ),
    ]


def power(found: Weather, *, count: int, rounds: int, seed: int) -> Outcome:
    """How often a slowdown by `EFFECT` is found; 0 of 0 where nothing of the metric was recorded."""
    count = count if found else 0
    random = np.random.default_rng(seed)
    pairs = [
        simulated(found, metric=METRIC, rounds=rounds, effect=EFFECT, random=random) for _ in range(count)
    ]
    return Outcome(
        name=f"{EFFECT - 1:.0%} slower, found",
        found=sum(each.word is Word.COSTS for each in pairs),
        of=count,
        least=POWER,
        most=1.0,
        detail=f"{METRICS[METRIC].title}, {rounds} rounds",
    )


def real_pairs(excerpts: Sequence[Excerpt]) -> list[Comparison]:
    """The runs' own controls: configurations that are the same thing, and cold work that is the same work."""
    return [
        compare(
            factor=pair.factor,
            label=f"{each.run}: {pair.label}",
            path=pair.path.value,
            of=pair.of,
            against=pair.against,
            values=each.values,
            limited=each.limited,
            yardstick=_NO_FLOOR,
        )
        for each in excerpts
        for pair in (*contrasts.equal_pairs(each.configurations), *contrasts.cold_pairs(each.configurations))
        if len(set(each.values.get(pair.of, {})) & set(each.values.get(pair.against, {}))) > 5
        and not {pair.of, pair.against} & set(each.limited)
    ]


def leaves_out_one(comparison: Comparison) -> bool:
    """Whether a difference would be claimed if no threshold and no other comparison spoke against it."""
    ratio = comparison.ratio
    return (
        ratio is not None
        and ratio.low is not None
        and ratio.high is not None
        and not ratio.low <= 1 <= ratio.high
    )


def _compared(values: Mapping[str, Values], metric: str) -> Comparison:
    of, against = (Side(configuration=name, metric=metric) for name in (_OF, _AGAINST))
    return compare(
        factor="calibration",
        label="of / against",
        path="",
        of=of,
        against=against,
        values={of: values[_OF], against: values[_AGAINST]},
        limited={},
        yardstick=_NO_FLOOR,
    )
