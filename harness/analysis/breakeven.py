"""Where conntrack pays: how many rules a packet must be spared before the table is worth its cost.

With redirect the rules stand in nat, which conntrack walks once per connection; with tproxy they
stand in mangle and every packet walks them. So the latency of later packets over the number of
filler rules has a slope per level, and redirect's line crosses that of tproxy without conntrack.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from harness.analysis.compare import Rounds, Side
from harness.analysis.statistics import Estimate, estimate
from harness.plan.model import Configuration, Interception

METRIC = "steady"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """The lines of one path, and where two of them cross."""

    path: str
    per_rule_s: Mapping[str, Estimate]
    """Interception level -> seconds that each rule adds to a later request."""
    rules: Estimate | None
    """Number of rules at which redirect and tproxy-notrack are equal; None where the lines do not tell."""
    sentence: str

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {
            "path": self.path,
            "metric": METRIC,
            "per_rule_s": {level: slope.document() for level, slope in self.per_rule_s.items()},
            "rules": self.rules.document() if self.rules else None,
            "sentence": self.sentence,
        }


def break_even(configurations: list[Configuration], rounds: Mapping[Side, Rounds]) -> BreakEven | None:
    """Fit the lines of the first path on which filler rules were varied; None where they were not."""
    lines: dict[Interception, dict[int, Rounds]] = {}
    varied = [each for each in configurations if each.filler_rules]
    if not varied:
        return None
    path = varied[0].path
    for each in configurations:
        like = any(
            replace(other, filler_rules=0, interception=each.interception) == replace(each, filler_rules=0)
            for other in varied
        )
        if each.path is path and like and each.dataplane == varied[0].dataplane:
            side = Side(configuration=each.key, metric=METRIC)
            lines.setdefault(each.interception, {})[each.filler_rules] = rounds.get(side, {})
    fits = {level: _fits(points) for level, points in lines.items()}
    slopes = {
        level.value: estimate([slope for slope, _ in fit.values()]) for level, fit in fits.items() if fit
    }
    rules = _crossing(fits.get(Interception.REDIRECT, {}), fits.get(Interception.TPROXY_NOTRACK, {}))
    return BreakEven(path=path.value, per_rule_s=slopes, rules=rules, sentence=_sentence(slopes, rules))


def _fits(points: Mapping[int, Rounds]) -> dict[int, tuple[float, float]]:
    """Round -> slope and intercept of the least-squares line through that round's points."""
    complete = set.intersection(*(set(values) for values in points.values())) if len(points) > 1 else set()
    counts = sorted(points)
    fits = {}
    for number in sorted(complete):
        slope, intercept = np.polyfit(counts, [points[count][number] for count in counts], 1)
        fits[number] = (float(slope), float(intercept))
    return fits


def _crossing(
    tracked: Mapping[int, tuple[float, float]], bare: Mapping[int, tuple[float, float]]
) -> Estimate | None:
    """Where the lines cross, one value per round; None unless in every round they do converge."""
    both = sorted(set(tracked) & set(bare))
    closing = [bare[number][0] - tracked[number][0] for number in both]
    if not both or min(closing) <= 0:
        return None
    return estimate(
        [(tracked[number][1] - bare[number][1]) / slope for number, slope in zip(both, closing, strict=True)]
    )


def _sentence(slopes: Mapping[str, Estimate], rules: Estimate | None) -> str:
    per_rule = "; ".join(f"{level} {slope.median * 1e9:+.1f} ns" for level, slope in slopes.items())
    each = (
        f"Each filler rule adds to a later request: {per_rule}."
        if slopes
        else "No level has complete rounds."
    )
    if rules is None:
        return f"{each} The lines do not cross in every round: no break-even can be told from this run."
    if rules.low is None or rules.high is None:
        return f"{each} They cross near {rules.median:,.0f} rules, from too few rounds for an interval."
    if rules.high <= 0:
        return f"{each} Conntrack pays from the first rule on."
    return (
        f"{each} Conntrack pays from about {max(rules.median, 0):,.0f} rules "
        f"({max(rules.low, 0):,.0f} to {rules.high:,.0f}) that each packet would have to walk."
    )
