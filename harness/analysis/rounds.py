"""Each metric of each configuration over the rounds of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.analysis.compare import Rounds, Side
from harness.analysis.judge import JudgedCell, by_configuration
from harness.analysis.measures import COSTS, METRICS, OPTIONAL, Values, metrics_of
from harness.analysis.statistics import (
    Estimate,
    Percentile,
    estimate,
    pooled_percentile,
    samples_needed,
)
from harness.plan.model import Configuration

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One metric of one configuration over the whole run."""

    configuration: Configuration
    metric: str
    estimate: Estimate | None
    """Median of the rounds' values; None where no valid cell has any."""
    per_round: Rounds
    n: int
    """Samples behind it, all rounds together."""
    pooled: Values
    """Latencies of all valid cells, seconds, sorted; empty for throughput."""
    percentiles: Mapping[str, Percentile | None]
    """Of the pooled latencies; None where the samples are too few for one. Empty for throughput."""
    at_least: str
    """Why throughput is at least (latency at most) this: the load generator was the limit. Mostly empty."""

    @property
    def side(self) -> Side:
        """Its name in comparisons."""
        return Side(configuration=self.configuration.key, metric=self.metric)

    @property
    def shown(self) -> Estimate | None:
        """What may be printed: a median of latencies needs as many samples as any other percentile."""
        if METRICS[self.metric].unit == "s" and self.n < samples_needed(0.5):
            return None
        return self.estimate

    def document(self) -> dict[str, Any]:
        """As saved."""
        return {
            "configuration": self.configuration.key,
            "metric": self.metric,
            "unit": METRICS[self.metric].unit,
            "value": self.shown.document() if self.shown else None,
            "samples": self.n,
            "percentiles": {name: asdict(each) if each else None for name, each in self.percentiles.items()},
            "per_round": {str(number): value for number, value in self.per_round.items()},
            "at_least": self.at_least,
        }


def over_rounds(cells: Sequence[JudgedCell]) -> Iterable[Measure]:
    """Every metric that exists for every configuration, measured or not."""
    for configuration, group in by_configuration(list(cells)):
        usable = [cell for cell in group if cell.usable]
        for metric in metrics_of(configuration):
            measured = [cell for cell in usable if metric in cell.measured]
            if measured or metric not in {*OPTIONAL, *COSTS}:
                yield _measure(configuration, metric, measured)


def _measure(configuration: Configuration, metric: str, cells: list[JudgedCell]) -> Measure:
    """A metric over its cells: those that the generator did not limit, unless it limited most of them."""
    stage = METRICS[metric].stage
    limiting = {stage, ""} if stage else set()
    free = [cell for cell in cells if not cell.verdict.limited_stages & limiting]
    at_least = ""
    if 2 * len(free) < len(cells):
        at_least = next(
            remark.reason for cell in cells for remark in cell.verdict.remarks if remark.stage in limiting
        )
        free = cells
    found = {cell.stored.record.cell.round: cell.measured[metric] for cell in free}
    per_round = {number: each.value for number, each in sorted(found.items())}
    by_round = [each.samples for each in found.values() if len(each.samples)]
    pooled = np.sort(np.concatenate(by_round)) if by_round else np.empty(0)
    return Measure(
        configuration=configuration,
        metric=metric,
        estimate=estimate(list(per_round.values())) if per_round else None,
        per_round=per_round,
        n=sum(each.n for each in found.values()),
        pooled=pooled,
        percentiles={
            name: pooled_percentile(pooled, by_round, quantile)
            for name, quantile in QUANTILES.items()
            if by_round
        },
        at_least=at_least,
    )
