"""What a run says about itself: how far equal things differed, whether equal work took equal time."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from harness.analysis.compare import Comparison, Word
from harness.analysis.text import times
from harness.evidence.model import Check, CheckStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """The A/A comparisons and what they amount to."""

    comparisons: tuple[Comparison, ...]
    noise: dict[tuple[str, str], float]
    """Path and metric -> ratio, at or above 1, by which two equal configurations differed in this run."""
    check: Check

    @property
    def noise_by_metric(self) -> dict[str, float]:
        """Metric -> the largest such ratio of all paths."""
        found: dict[str, float] = {}
        for (_, metric), ratio in self.noise.items():
            found[metric] = max(ratio, found.get(metric, 1.0))
        return found

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {
            "noise_percent": {
                metric: round((ratio - 1) * 100, 2) for metric, ratio in self.noise_by_metric.items()
            },
            "comparisons": [comparison.document() for comparison in self.comparisons],
            "check": self.check.document(),
        }


def control(comparisons: Sequence[Comparison]) -> Control:
    """Judge the A/A comparisons, which were judged without a noise floor."""
    noise = _noise_floor(comparisons)
    worst = max(noise.values(), default=1.0)
    numbers = {
        f"{path}.{metric}_percent": round((ratio - 1) * 100, 2) for (path, metric), ratio in noise.items()
    }
    claimed = [each for each in comparisons if each.word in {Word.COSTS, Word.SAVES}]
    if not comparisons:
        status, reason = CheckStatus.NOT_APPLICABLE, "the plan holds no two equal configurations"
    elif all(each.ratio is None or not each.ratio.has_interval for each in comparisons):
        status, reason = CheckStatus.UNKNOWN, "too few valid rounds for an interval"
    elif claimed:
        names = ", ".join(sorted({f"{each.of.metric} on {each.path}" for each in claimed}))
        status, reason = CheckStatus.INVALID, f"a difference was found between equal configurations: {names}"
    else:
        status = CheckStatus.VALID
        reason = f"equal configurations were at most {(worst - 1) * 100:.1f} % apart, and none was told apart"
    check = Check(name="equal-configurations", status=status, reason=reason, numbers=numbers)
    return Control(comparisons=tuple(comparisons), noise=noise, check=check)


def _noise_floor(comparisons: Iterable[Comparison]) -> dict[tuple[str, str], float]:
    """Per path and metric the largest difference between equal configurations, as a ratio at or above 1."""
    noise: dict[tuple[str, str], float] = {}
    for comparison in comparisons:
        if comparison.ratio is not None:
            key = comparison.path, comparison.of.metric
            size = math.exp(abs(math.log(comparison.ratio.centre)))
            noise[key] = max(size, noise.get(key, 1.0))
    return noise


def cold_agreement(comparisons: Iterable[Comparison]) -> list[Check]:
    """Cold with reuse on and off is the same work, so it takes the same time: proved, refuted or open."""
    return [_agreement(comparison) for comparison in comparisons]


_AGREES = {
    Word.NO_DIFFERENCE: CheckStatus.VALID,
    Word.OPEN: CheckStatus.UNKNOWN,
    Word.COSTS: CheckStatus.INVALID,
    Word.SAVES: CheckStatus.INVALID,
}


def _agreement(comparison: Comparison) -> Check:
    ratio = comparison.ratio
    found = f"cold on / off is {times(ratio)}: " if ratio is not None else ""
    return Check(
        name=f"cold-agreement {comparison.of.configuration}",
        status=_AGREES[comparison.word],
        reason=f"{found}{comparison.because}",
        numbers={} if ratio is None else {"ratio": round(ratio.centre, 4)},
    )
