"""What is measured of a cell: metrics, and their values from its samples.

The first byte of an answer ends each latency. For the first request of a connection time starts
before connect(), for later ones before send(); at a fixed rate it starts when the request was due.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.plan import costs, scenarios
from harness.plan.model import Configuration, Load, State
from harness.plan.scenarios import Metric
from harness.plan.scenarios.knee import Step, highest
from harness.plan.scenarios.model import How

Samples = NDArray[np.float64]

LEAST_SAMPLES = 5
"""Fewest good samples of a cell from which a round's median is taken."""


METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="first.cold", title="first packet, cold", unit="s", stage="probe", how=How.PROBE),
        Metric(name="first.warm", title="first packet, warm", unit="s", stage="probe", how=How.PROBE),
        Metric(name="first.new", title="first packet, new", unit="s", stage="probe", how=How.PROBE),
        Metric(name="steady", title="later packets", unit="s", stage="probe", how=How.PROBE),
        *scenarios.metrics(),
    )
} | {metric.name: metric for metric in costs.METRICS}
CORE = ("steady", "rate", "requests", "transfer")
"""Metrics that every configuration has, beside those of its first states."""
COSTS = tuple(metric.name for metric in costs.METRICS)
"""What processes used. Judged in a family of their own: they answer another question than latency does."""
OPTIONAL = tuple(
    name for name, metric in METRICS.items() if metric.how not in {How.PROBE, How.USAGE} and name not in CORE
)
"""Metrics of stages that most suites leave out; where one was not measured, nothing is said of it."""

FIRST = {State.COLD: "first.cold", State.WARM: "first.warm", State.NEW: "first.new"}
"""First state -> its metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One metric of one cell."""

    metric: str
    value: float
    """Latencies: the median, seconds. Throughput: the stage's mean, per second."""
    samples: Samples
    """Latencies in seconds, for pooling; empty for throughput."""
    n: int


def metrics_of(configuration: Configuration) -> list[str]:
    """The metrics that exist for a configuration, in the order of the report."""
    first = [FIRST[state] for state in configuration.states if state in FIRST]
    return [*first, *CORE, *OPTIONAL, *COSTS]


def measure(frames: Mapping[str, pd.DataFrame], evidence: Mapping[str, Any]) -> Iterator[Measured]:
    """Every metric that a cell's samples hold.

    Args:
        frames: Stage -> samples, columns as in `harness.load.records`; a stage that was left out is absent.
        evidence: Source -> document, for what no row holds.
    """
    if "probe" in frames:
        yield from _probes(frames["probe"])
    for metric in scenarios.metrics():
        if metric.stage in frames:
            yield from _READERS[metric.how](metric.name, frames[metric.stage], evidence)


def probe_costs(samples: pd.DataFrame, load: Load) -> dict[State, float]:
    """State -> median seconds per probe beyond the gap and the later requests that were asked for.

    A probe begins where the one before ended: its control call and gap (up to `intended_ns`), then its
    connection to the last answer. States are interleaved, so each is taken from its own rows.
    """
    first = samples[samples["sequence"] == 0].sort_values("start_ns")
    ends = samples.groupby("connection")["end_ns"].max().reindex(first["connection"]).to_numpy(dtype=float)
    prepared = first["intended_ns"].to_numpy(dtype=float)[1:] - ends[:-1]
    lasted = (ends - first["start_ns"].to_numpy(dtype=float))[1:]
    asked_s = load.gap_ms / 1000 + load.later_requests * load.later_interval_ms / 1000
    extra = (prepared + lasted) / 1e9 - asked_s
    states = first["state"].to_numpy()[1:]
    return {state: float(np.median(extra[states == state.value])) for state in State if state.value in states}


def _good(samples: pd.DataFrame) -> pd.DataFrame:
    return samples[samples["ok"].astype(bool)]


def _seconds(samples: pd.DataFrame, start: str) -> Samples:
    return ((samples["first_byte_ns"] - samples[start]) / 1e9).to_numpy(dtype=float)


def _probes(samples: pd.DataFrame) -> Iterator[Measured]:
    good = _good(samples)
    first = good[good["sequence"] == 0]
    for state, metric in FIRST.items():
        yield from _latency(metric, _seconds(first[first["state"] == state.value], "start_ns"))
    yield from _latency("steady", _seconds(good[good["sequence"] > 0], "start_ns"))


def _latency(metric: str, seconds: Samples) -> Iterator[Measured]:
    if len(seconds) >= LEAST_SAMPLES:
        yield Measured(metric=metric, value=float(np.median(seconds)), samples=seconds, n=len(seconds))


def _intended(metric: str, samples: pd.DataFrame, _: Mapping[str, Any]) -> Iterator[Measured]:
    yield from _latency(metric, _seconds(_good(samples), "intended_ns"))


def _started(metric: str, samples: pd.DataFrame, _: Mapping[str, Any]) -> Iterator[Measured]:
    yield from _latency(metric, _seconds(_good(samples), "start_ns"))


def _whole(metric: str, samples: pd.DataFrame, _: Mapping[str, Any]) -> Iterator[Measured]:
    good = _good(samples)
    yield from _latency(metric, ((good["end_ns"] - good["start_ns"]) / 1e9).to_numpy(dtype=float))


def _throughput(metric: str, samples: pd.DataFrame, evidence: Mapping[str, Any]) -> Iterator[Measured]:
    """Answers per second over whole turns, from where each has settled."""
    good = _good(samples)
    turns = _settled(metric, evidence)
    if len(good) < LEAST_SAMPLES or not len(turns):
        return
    ends = good["end_ns"].to_numpy()
    turn = np.searchsorted(turns[:, 0], ends, side="right") - 1
    count = int(((turn >= 0) & (ends <= turns[turn, 1])).sum())
    yield Measured(metric=metric, value=count / _lasted_s(turns), samples=np.empty(0), n=len(good))


def _bulk(metric: str, samples: pd.DataFrame, evidence: Mapping[str, Any]) -> Iterator[Measured]:
    """Payload bits per second over all streams together and all turns."""
    good = _good(samples)
    turns = _turns(metric, evidence)
    if good.empty or not len(turns):
        return
    bits = float(good["bytes"].sum()) * 8
    yield Measured(metric=metric, value=bits / _lasted_s(turns), samples=np.empty(0), n=len(good))


def _turns(metric: str, evidence: Mapping[str, Any]) -> NDArray[np.int64]:
    """The turns of a metric's stage, ascending: columns start_ns, end_ns."""
    stage = evidence.get("answers", {}).get("stages", {}).get(METRICS[metric].stage, {})
    turns = [turn[:2] for turn in stage.get("turns", ())]
    return np.array(turns, dtype=np.int64).reshape(-1, 2)


def _settled(metric: str, evidence: Mapping[str, Any]) -> NDArray[np.int64]:
    """The same without their first moments; a turn that is over by then is left out."""
    stage = evidence.get("answers", {}).get("stages", {}).get(METRICS[metric].stage, {})
    turns = _turns(metric, evidence) + np.array([int(stage.get("settle_ns", 0)), 0])
    lasting: NDArray[np.int64] = turns[turns[:, 0] < turns[:, 1]]
    return lasting


def _lasted_s(turns: NDArray[np.int64]) -> float:
    return float((turns[:, 1] - turns[:, 0]).sum()) / 1e9


def _knee(metric: str, samples: pd.DataFrame, _: Mapping[str, Any]) -> Iterator[Measured]:
    """The highest rate that held, no value where none did. n counts the steps."""
    held = samples.groupby("rate_mhz")["within"].min()
    steps = [
        Step(rate_hz=rate / 1000, within=bool(within))
        for rate, within in zip(held.index.to_numpy(dtype=float), held, strict=True)
    ]
    if found := highest(steps):
        yield Measured(metric=metric, value=found, samples=np.empty(0), n=len(steps))


def _busiest(metric: str, samples: pd.DataFrame, _: Mapping[str, Any]) -> Iterator[Measured]:
    answered = _good(samples)["endpoint"].value_counts()
    if len(answered):
        total = int(answered.sum())
        yield Measured(metric=metric, value=float(answered.max()) / total, samples=np.empty(0), n=total)


def _memory(metric: str, samples: pd.DataFrame, evidence: Mapping[str, Any]) -> Iterator[Measured]:
    """Of all proxies together, while the fleet was held."""
    stage = evidence.get("answers", {}).get("stages", {}).get(METRICS[metric].stage, {})
    held = [each["held"] for each in stage.get("memory", {}).values()]
    if held:
        yield Measured(metric=metric, value=float(sum(held)), samples=np.empty(0), n=len(_good(samples)))


_READERS: Mapping[How, Callable[[str, pd.DataFrame, Mapping[str, Any]], Iterator[Measured]]] = {
    How.INTENDED: _intended,
    How.STARTED: _started,
    How.WHOLE: _whole,
    How.ANSWERS: _throughput,
    How.BITS: _bulk,
    How.KNEE: _knee,
    How.BUSIEST: _busiest,
    How.MEMORY: _memory,
}
