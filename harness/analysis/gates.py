"""A suite's thresholds held against what was found: met, missed, or not to be told."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from harness.analysis.compare import Comparison, Side
from harness.analysis.measures import METRICS
from harness.analysis.rounds import Measure
from harness.analysis.statistics import Estimate, Percentile
from harness.analysis.text import quantity, significant
from harness.plan.model import Configuration, tuned
from harness.suite.gates import Gate


class Outcome(StrEnum):
    """How a threshold ended."""

    MET = "met"
    MISSED = "missed"
    OPEN = "open"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """One threshold with its outcome."""

    text: str
    configuration: str
    """The one it was held against; of a ratio, the one above the line."""
    outcome: Outcome
    value: float | None
    low: float | None
    high: float | None
    because: str

    def document(self) -> dict[str, Any]:
        """As saved."""
        return asdict(self)


def rule(
    gates: Sequence[Gate],
    default: Configuration,
    measures: Mapping[Side, Measure],
    factors: Sequence[Comparison],
) -> tuple[Ruling, ...]:
    """Hold every threshold against the run; a ratio against each pair of configurations that it fits."""
    return tuple(
        ruling
        for gate in gates
        for ruling in (_ratios(gate, default, factors) if gate.factor else [_value(gate, default, measures)])
    )


def _value(gate: Gate, default: Configuration, measures: Mapping[Side, Measure]) -> Ruling:
    measure = measures.get(Side(configuration=default.key, metric=gate.metric))
    unit = METRICS[gate.metric].unit
    if measure is None or measure.shown is None:
        return _open(gate, default.key, f"{METRICS[gate.metric].title} was not measured there")
    if measure.at_least:
        return _open(gate, default.key, f"the load generator was the limit: {measure.at_least}")
    found = (
        _interval(measure.percentiles.get(gate.statistic))
        if measure.percentiles
        else _median(measure.estimate)
    )
    if found is None:
        return _open(gate, default.key, f"{measure.n} samples are too few for {gate.statistic}")
    return _held(gate, default.key, *found, shown=lambda value: quantity(value, unit))


def _ratios(gate: Gate, default: Configuration, factors: Sequence[Comparison]) -> Iterator[Ruling]:
    fitting = [
        each
        for each in factors
        if each.factor == gate.factor
        and each.path == default.path.value
        and each.of.metric == gate.metric
        and not tuned(each.of.configuration)
        and (gate.factor == "conntrack" or each.of.configuration == default.key)
    ]
    if not fitting:
        yield _open(gate, default.key, f"the run compares no {gate.factor} on with off there")
    for each in fitting:
        found = _median(each.ratio)
        if found is None:
            yield _open(gate, each.of.configuration, each.because)
            continue
        value, low, high = found
        if gate.inverted:
            value, low, high = 1 / value, 1 / high if high else None, 1 / low if low else None
        yield _held(gate, each.of.configuration, value, low, high, shown=significant)


def _held(
    gate: Gate, configuration: str, value: float, low: float | None, high: float | None, *, shown: Any
) -> Ruling:
    """Met or missed when the whole interval lies on one side of the limit."""
    outcome = Outcome.OPEN
    if low is not None and high is not None:
        if high < gate.limit or low > gate.limit:
            outcome = Outcome.MET if (high < gate.limit) == gate.below else Outcome.MISSED
        because = f"{shown(value)} ({shown(low)} to {shown(high)})"
        because += ", which holds the limit" if outcome is Outcome.OPEN else ""
    else:
        because = f"{shown(value)}, from too few rounds for an interval"
    return Ruling(
        text=gate.text,
        configuration=configuration,
        outcome=outcome,
        value=value,
        low=low,
        high=high,
        because=because,
    )


def _open(gate: Gate, configuration: str, because: str) -> Ruling:
    return Ruling(
        text=gate.text,
        configuration=configuration,
        outcome=Outcome.OPEN,
        value=None,
        low=None,
        high=None,
        because=because,
    )


def _interval(found: Percentile | None) -> tuple[float, float | None, float | None] | None:
    return None if found is None else (found.value, found.low, found.high)


def _median(found: Estimate | None) -> tuple[float, float | None, float | None] | None:
    return None if found is None else (found.centre, found.low, found.high)
