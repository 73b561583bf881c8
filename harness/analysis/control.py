"""What a run says about itself: how far equal things differed, whether equal work took equal time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.compare import Comparison, Word, Yardstick
from harness.evidence.model import Check, CheckStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The A/A comparisons and what they amount to."""

    comparisons: tuple[Comparison, ...]
    noise: dict[str, float]
    """Metric -> ratio, at or above 1, by which two equal configurations differed in this run."""
    check: Check

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {
            "noise_percent": {metric: round((ratio - 1) * 100, 2) for metric, ratio in self.noise.items()},
            "comparisons": [comparison.document() for comparison in self.comparisons],
            "check": self.check.document(),
        }


def noise_floor(comparisons: Iterable[Comparison]) -> dict[str, float]:
    """Per metric the largest difference between equal configurations, as a ratio at or above 1.

    Cold and warm first packets have no equal twin; they take the floor of new connections, which
    are probed in the same way.
    """
    noise: dict[str, float] = {}
    for comparison in comparisons:
        if comparison.ratio is not None:
            metric = comparison.of.metric
            size = math.exp(abs(math.log(comparison.ratio.median)))
            noise[metric] = max(size, noise.get(metric, 1.0))
    if "first.new" in noise:
        noise |= {"first.cold": noise["first.new"], "first.warm": noise["first.new"]}
    return noise


def control(comparisons: Sequence[Comparison], noise_percent: float) -> Control:
    """Judge the A/A comparisons.

    Args:
        comparisons: Of equal configurations, judged without a noise floor.
        noise_percent: The suite's threshold for a warning.
    """
    noise = noise_floor(comparisons)
    worst = max(noise.values(), default=1.0)
    numbers = {f"{metric}_percent": round((ratio - 1) * 100, 2) for metric, ratio in noise.items()}
    found = [each for each in comparisons if each.word in {Word.COSTS, Word.SAVES}]
    status = CheckStatus.VALID
    if not comparisons:
        status, reason = CheckStatus.NOT_APPLICABLE, "the plan holds no two equal configurations"
    elif all(each.ratio is None or not each.ratio.has_interval for each in comparisons):
        status, reason = CheckStatus.UNKNOWN, "too few valid rounds for an interval"
    elif found:
        names = ", ".join(sorted({each.of.metric for each in found}))
        status, reason = CheckStatus.INVALID, f"a difference was found between equal configurations: {names}"
    elif (worst - 1) * 100 > noise_percent:
        reason = (
            f"no difference is claimed between equal configurations, but they were {(worst - 1) * 100:.1f} % "
            f"apart, more than the suite's {noise_percent:g} %: the machine was busy, small effects are lost"
        )
    else:
        reason = f"equal configurations were at most {(worst - 1) * 100:.1f} % apart"
    return Control(
        comparisons=tuple(comparisons),
        noise=noise,
        check=Check(name="equal-configurations", status=status, reason=reason, numbers=numbers),
    )


def cold_agreement(comparisons: Sequence[Comparison], yardstick: Yardstick) -> list[Check]:
    """Cold with reuse on and off does the same work, so it must take the same time.

    It does when the interval holds 1, or when the two are no further apart than equal
    configurations were in this run or than the suite's practical threshold.
    """
    allowed = max(yardstick.practical, yardstick.noise.get("first.cold", 1.0))
    return [_agreement(comparison, allowed) for comparison in comparisons]


def _agreement(comparison: Comparison, allowed: float) -> Check:
    name = f"cold-agreement {comparison.of.configuration}"
    ratio = comparison.ratio
    if ratio is None or ratio.low is None or ratio.high is None:
        return Check(name=name, status=CheckStatus.UNKNOWN, reason=comparison.because)
    numbers = {"ratio": round(ratio.median, 4), "low": round(ratio.low, 4), "high": round(ratio.high, 4)}
    shown = f"{ratio.median:.3f} ({ratio.low:.3f} to {ratio.high:.3f})"
    if ratio.low <= 1 <= ratio.high:
        return Check(
            name=name,
            status=CheckStatus.VALID,
            reason=f"cold on / off is {shown}, 1 included",
            numbers=numbers,
        )
    if abs(math.log(ratio.median)) <= math.log(allowed):
        reason = f"cold on / off is {shown}, within {(allowed - 1) * 100:.1f} %"
        return Check(name=name, status=CheckStatus.VALID, reason=reason, numbers=numbers)
    reason = f"cold on / off is {shown}: the same work did not take the same time"
    return Check(name=name, status=CheckStatus.INVALID, reason=reason, numbers=numbers)
