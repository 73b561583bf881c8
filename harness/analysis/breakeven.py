"""Where one way of capture overtakes another: how many rules a packet must be spared before it pays.

With redirect the rules stand in nat, which conntrack walks once per connection; with tproxy they stand in
mangle and every packet walks them. So the difference between two levels changes with the number of filler
rules, and where it changes its sign the one overtakes the other. Redirect and tproxy differ in the capture
alone; redirect and tproxy-notrack differ in conntrack, too, and are named so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from harness.analysis.compare import Side, Values, paired
from harness.analysis.statistics import CONFIDENCE, Estimate, mean
from harness.plan.model import Configuration, Interception
from harness.suite.model import ROUNDS_FOR_AN_INTERVAL

METRIC = "steady"
PAIRS = (
    (Interception.REDIRECT, Interception.TPROXY),
    (Interception.REDIRECT, Interception.TPROXY_NOTRACK),
)
"""Of which the first one is walked once per connection."""

Points = Mapping[int, Values]
"""Number of filler rules -> latency, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossing:
    """Two levels, and from how many rules on the first one is ahead."""

    of: str
    against: str
    rules: float | None
    """None where the measured numbers of rules do not lie on both sides of it."""
    low: float | None
    """Ends of the 95 % interval, None where it is not bounded; below 0 means before the first rule."""
    high: float | None
    between: tuple[int, int] | None
    """The measured numbers of rules next to it, from which alone it is taken."""
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """What each rule costs on one path, and where levels overtake one another."""

    path: str
    per_rule_s: Mapping[str, Estimate]
    """Interception level -> seconds that each rule adds to a later request, over the whole range."""
    bent: Mapping[str, Estimate]
    """Interception level -> seconds by which the middle lies off the line through the ends."""
    crossings: tuple[Crossing, ...]

    @property
    def sentence(self) -> str:
        """All of it in words."""
        costs = "; ".join(f"{level} {_nanoseconds(slope)}" for level, slope in self.per_rule_s.items())
        bent = [level for level, off in self.bent.items() if not _holds_zero(off)]
        parts = [
            f"Each filler rule adds to a later request: {costs}."
            if costs
            else "No level has complete rounds.",
            f"Not in proportion: {', '.join(bent)}." if bent else "",
            *(crossing.sentence for crossing in self.crossings),
        ]
        return " ".join(part for part in parts if part)

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {
            "path": self.path,
            "metric": METRIC,
            "per_rule_s": {level: slope.document() for level, slope in self.per_rule_s.items()},
            "bent": {level: off.document() for level, off in self.bent.items()},
            "crossings": [asdict(each) for each in self.crossings],
            "sentence": self.sentence,
        }


def break_even(configurations: Sequence[Configuration], values: Mapping[Side, Values]) -> BreakEven | None:
    """Of the first path on which filler rules were varied; None where they were not."""
    varied = [each for each in configurations if each.filler_rules]
    if not varied:
        return None
    levels = {
        level: {
            each.filler_rules: values.get(Side(configuration=each.key, metric=METRIC), {})
            for each in configurations
            if replace(each, filler_rules=0, interception=varied[0].interception)
            == replace(varied[0], filler_rules=0)
            and each.interception is level
        }
        for level in dict.fromkeys(each.interception for each in varied)
    }
    return BreakEven(
        path=varied[0].path.value,
        per_rule_s={level.value: slope for level, points in levels.items() if (slope := _slope(points))},
        bent={level.value: off for level, points in levels.items() if (off := _off_line(points))},
        crossings=tuple(
            crossing(of.value, against.value, levels[of], levels[against])
            for of, against in PAIRS
            if of in levels and against in levels
        ),
    )


def _slope(points: Points) -> Estimate | None:
    """What each rule adds, from the least to the greatest number of rules."""
    if len(points) < 2:
        return None
    least, most = min(points), max(points)
    return _mean(_differences(points[most], points[least]) / (most - least))


def _off_line(points: Points) -> Estimate | None:
    """How far the middle number of rules lies off the line through the ends; None with fewer than three."""
    counts = sorted(points)
    if len(counts) < 3:
        return None
    least, middle, most = counts[0], counts[len(counts) // 2], counts[-1]
    rise, whole = (_by_round(points[each], points[least]) for each in (middle, most))
    share = (middle - least) / (most - least)
    return _mean(np.array([rise[each] - share * whole[each] for each in sorted(set(rise) & set(whole))]))


def crossing(of: str, against: str, mine: Points, theirs: Points) -> Crossing:
    """From how many rules on `of` is ahead of `against`.

    The interval is Fieller's, of a ratio of two estimates that are not independent: the difference without
    the rules, and what each rule changes of it, by rounds.

    Source: Fieller, Some problems in interval estimation, JRSS B 1954.
    """
    counts = sorted(set(mine) & set(theirs))
    by_round = {count: _by_round(mine[count], theirs[count]) for count in counts}
    means = {count: _mean(np.array(list(found.values()))) for count, found in by_round.items()}
    said = f"{of} against {against}"
    for low, high in pairwise(counts):
        before, after = means[low], means[high]
        if before is None or after is None or before.centre <= 0 or after.centre >= 0:
            continue
        rounds = sorted(set(by_round[low]) & set(by_round[high]))
        at_low, at_high = (np.array([by_round[count][each] for each in rounds]) for count in (low, high))
        rules = low - before.centre * (high - low) / (after.centre - before.centre)
        ends = _fieller(at_low, (at_high - at_low) / (high - low))
        if ends is None:
            sentence = f"{said}: they cross near {rules:,.0f} rules, but no interval can be told."
            return Crossing(
                of=of,
                against=against,
                rules=rules,
                low=None,
                high=None,
                between=(low, high),
                sentence=sentence,
            )
        start, end = (low + each for each in ends)
        sentence = f"{of} overtakes {against} at {rules:,.0f} rules ({start:,.0f} to {end:,.0f})."
        return Crossing(
            of=of, against=against, rules=rules, low=start, high=end, between=(low, high), sentence=sentence
        )
    first = means.get(0)
    if first is not None and first.high is not None and first.high < 0:
        sentence = f"{of} is ahead of {against} from the first rule on."
    else:
        sentence = f"{said}: where one overtakes the other is not told by this run."
    return Crossing(of=of, against=against, rules=None, low=None, high=None, between=None, sentence=sentence)


def _fieller(at_zero: NDArray[np.float64], per_rule: NDArray[np.float64]) -> tuple[float, float] | None:
    """The interval of -at_zero / per_rule, paired by round; None where it is not bounded."""
    count = len(at_zero)
    if count < ROUNDS_FOR_AN_INTERVAL:
        return None
    critical = float(student.isf((1 - CONFIDENCE) / 2, count - 1)) ** 2 / count
    covariance = np.cov(at_zero, per_rule, ddof=1)
    one, other = float(at_zero.mean()), float(per_rule.mean())
    square = other**2 - critical * covariance[1, 1]
    linear = one * other - critical * covariance[0, 1]
    constant = one**2 - critical * covariance[0, 0]
    discriminant = linear**2 - square * constant
    if square <= 0 or discriminant < 0:
        return None
    root = math.sqrt(discriminant)
    return (-linear - root) / square, (-linear + root) / square


def _by_round(of: Values, against: Values) -> dict[int, float]:
    """Round -> difference of two sides, the mean over the bouts that they share."""
    return {
        number: sum(one - other for one, other in both) / len(both)
        for number, both in paired(of, against).items()
    }


def _differences(of: Values, against: Values) -> NDArray[np.float64]:
    return np.array(list(_by_round(of, against).values()))


def _mean(values: NDArray[np.float64]) -> Estimate | None:
    return mean(values) if len(values) else None


def _holds_zero(found: Estimate) -> bool:
    return found.low is None or found.high is None or found.low <= 0 <= found.high


def _nanoseconds(slope: Estimate) -> str:
    text = f"{slope.centre * 1e9:+.1f} ns"
    if slope.low is None or slope.high is None:
        return text
    return f"{text} ({slope.low * 1e9:+.1f} to {slope.high * 1e9:+.1f})"
