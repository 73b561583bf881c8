"""Each metric of each configuration over the rounds of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from harness.analysis.compare import Side, Values, by_round
from harness.analysis.judge import JudgedCell, by_configuration
from harness.analysis.measures import COSTS, METRICS, OPTIONAL, Samples, metrics_of
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
    values: Values
    """By round and bout."""
    n: int
    """Samples behind it, all rounds together."""
    pooled: Samples
    """Latencies of all valid cells, seconds, sorted; empty for throughput."""
    percentiles: Mapping[str, Percentile | None]
    """Of the pooled latencies; None where the samples are too few for one. Empty for throughput."""
    at_least: str
    """Why throughput is at least (latency at most) this: the load generator was the limit. Mostly empty."""

    @property
    def per_round(self) -> dict[int, float]:
        """One value per round."""
        return by_round(self.values)

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
            "values": [[number, bout, value] for (number, bout), value in self.values.items()],
            "at_least": self.at_least,
        }


def over_rounds(cells: Sequence[JudgedCell]) -> Iterable[Measure]:
    """Every metric that exists for every configuration, measured or not."""
    for configuration, group in by_configuration(cells, twins=True):
        usable = [cell for cell in group if cell.usable]
        for metric in metrics_of(configuration):
            measured = [cell for cell in usable if metric in cell.measured]
            if measured or metric not in {*OPTIONAL, *COSTS}:
                yield _measure(configuration, metric, measured)


def _measure(configuration: Configuration, metric: str, cells: list[JudgedCell]) -> Measure:
    """A metric over its cells; a bound as soon as the generator limited one of them."""
    stage = METRICS[metric].stage
    limiting = {stage, ""} if stage else set()
    remarks = [remark for cell in cells for remark in cell.verdict.limits if remark.stage in limiting]
    found = {cell.occasion: cell.measured[metric] for cell in cells}
    values = {occasion: each.value for occasion, each in sorted(found.items())}
    samples = [each.samples for each in found.values() if len(each.samples)]
    pooled = np.sort(np.concatenate(samples)) if samples else np.empty(0)
    return Measure(
        configuration=configuration,
        metric=metric,
        estimate=estimate(list(by_round(values).values())) if values else None,
        values=values,
        n=sum(each.n for each in found.values()),
        pooled=pooled,
        percentiles={
            name: pooled_percentile(pooled, samples, quantile)
            for name, quantile in QUANTILES.items()
            if samples
        },
        at_least=remarks[0].reason if remarks else "",
    )
