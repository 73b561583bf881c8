"""What is measured of a cell: metrics, and their values from its samples.

The first byte of an answer ends each latency. For the first request of a connection time starts
before connect(), for later ones before send(); at a fixed rate it starts when the request was due.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from harness.plan.model import Configuration, Load, State

Values = NDArray[np.float64]

LEAST_SAMPLES = 5
"""Fewest good samples of a cell from which a round's median is taken."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One thing measured."""

    name: str
    title: str
    unit: str
    """Of the values in findings: `s`, `requests/s`, `connections/s`, `bit/s`; of costs `CPU s`, `CPU s/GB`,
    `switches`, `bytes`."""
    stage: str
    """Whose pace it depends on; empty for costs, which a slow generator does not change."""
    lower_is_better: bool = True


_COSTS = (
    *(
        Metric(
            name=f"cpu.first.{state}", title=f"proxies' CPU, first packet, {state}", unit="CPU s", stage=""
        )
        for state in ("cold", "warm", "new")
    ),
    Metric(name="cpu.later", title="proxies' CPU, later packets", unit="CPU s", stage=""),
    Metric(name="cpu.request", title="proxies' CPU per request, under load", unit="CPU s", stage=""),
    Metric(name="cpu.gigabyte", title="proxies' CPU per gigabyte", unit="CPU s/GB", stage=""),
    Metric(name="cpu.path.request", title="CPU of all per request, under load", unit="CPU s", stage=""),
    Metric(name="cpu.path.gigabyte", title="CPU of all per gigabyte", unit="CPU s/GB", stage=""),
    *(
        Metric(
            name=f"switches.first.{state}",
            title=f"proxies' context switches, first packet, {state}",
            unit="switches",
            stage="",
        )
        for state in ("cold", "warm", "new")
    ),
    Metric(
        name="switches.later", title="proxies' context switches, later packets", unit="switches", stage=""
    ),
    Metric(
        name="switches.request",
        title="proxies' context switches per request, under load",
        unit="switches",
        stage="",
    ),
    Metric(name="memory.peak", title="proxies' memory, peak", unit="bytes", stage=""),
)

METRICS = {
    metric.name: metric
    for metric in (
        Metric(name="first.cold", title="first packet, cold", unit="s", stage="probe"),
        Metric(name="first.warm", title="first packet, warm", unit="s", stage="probe"),
        Metric(name="first.new", title="first packet, new", unit="s", stage="probe"),
        Metric(name="steady", title="later packets", unit="s", stage="probe"),
        Metric(name="rate", title="fixed-rate latency", unit="s", stage="rate"),
        Metric(
            name="requests",
            title="requests per second",
            unit="requests/s",
            stage="requests",
            lower_is_better=False,
        ),
        Metric(
            name="transfer", title="bulk throughput", unit="bit/s", stage="transfer", lower_is_better=False
        ),
        Metric(name="rtt", title="round trip of 128 bytes", unit="s", stage="rtt"),
        Metric(
            name="requests.alone",
            title="requests per second on one connection",
            unit="requests/s",
            stage="requests-alone",
            lower_is_better=False,
        ),
        Metric(
            name="transfer.alone",
            title="bulk throughput of one stream",
            unit="bit/s",
            stage="transfer-alone",
            lower_is_better=False,
        ),
        Metric(
            name="connects",
            title="new connections per second",
            unit="connections/s",
            stage="connects",
            lower_is_better=False,
        ),
    )
} | {metric.name: metric for metric in _COSTS}
COSTS = tuple(metric.name for metric in _COSTS)
"""What processes used. Judged in a family of their own: they answer another question than latency does."""
OPTIONAL = ("rtt", "requests.alone", "transfer.alone", "connects")
"""Metrics of stages that most suites leave out; where one was not measured, nothing is said of it."""

FIRST = {State.COLD: "first.cold", State.WARM: "first.warm", State.NEW: "first.new"}
"""First state -> its metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One metric of one cell."""

    metric: str
    value: float
    """Latencies: the median, seconds. Throughput: the stage's mean, per second."""
    samples: Values
    """Latencies in seconds, for pooling; empty for throughput."""
    n: int


def metrics_of(configuration: Configuration) -> list[str]:
    """The metrics that exist for a configuration, in the order of the report."""
    first = [FIRST[state] for state in configuration.states if state in FIRST]
    return [*first, "steady", "rate", "requests", "transfer", *OPTIONAL, *COSTS]


def measure(frames: Mapping[str, pd.DataFrame]) -> Iterator[Measured]:
    """Every metric that a cell's samples hold.

    Args:
        frames: Stage -> samples, columns as in `harness.load.records`; a stage that was left out is absent.
    """
    if "probe" in frames:
        yield from _probes(frames["probe"])
    if "rate" in frames:
        yield from _latency("rate", _seconds(_good(frames["rate"]), "intended_ns"))
    if "requests" in frames:
        yield from _throughput("requests", frames["requests"])
    if "transfer" in frames:
        yield from _bulk("transfer", frames["transfer"])
    if "rtt" in frames:
        good = _good(frames["rtt"])
        yield from _latency("rtt", ((good["end_ns"] - good["start_ns"]) / 1e9).to_numpy(dtype=float))
    if "requests-alone" in frames:
        yield from _throughput("requests.alone", frames["requests-alone"])
    if "transfer-alone" in frames:
        yield from _bulk("transfer.alone", frames["transfer-alone"])
    if "connects" in frames:
        yield from _throughput("connects", frames["connects"])


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


def _seconds(samples: pd.DataFrame, start: str) -> Values:
    return ((samples["first_byte_ns"] - samples[start]) / 1e9).to_numpy(dtype=float)


def _probes(samples: pd.DataFrame) -> Iterator[Measured]:
    good = _good(samples)
    first = good[good["sequence"] == 0]
    for state, metric in FIRST.items():
        yield from _latency(metric, _seconds(first[first["state"] == state.value], "start_ns"))
    yield from _latency("steady", _seconds(good[good["sequence"] > 0], "start_ns"))


def _latency(metric: str, seconds: Values) -> Iterator[Measured]:
    if len(seconds) >= LEAST_SAMPLES:
        yield Measured(metric=metric, value=float(np.median(seconds)), samples=seconds, n=len(seconds))


def _throughput(metric: str, samples: pd.DataFrame) -> Iterator[Measured]:
    """Answers per second between the first request's start and the last answer's end, ends included once."""
    good = _good(samples)
    if len(good) < LEAST_SAMPLES:
        return
    window_s = (good["end_ns"].max() - good["start_ns"].min()) / 1e9
    yield Measured(metric=metric, value=len(good) / window_s, samples=np.empty(0), n=len(good))


def _bulk(metric: str, samples: pd.DataFrame) -> Iterator[Measured]:
    """Payload bits per second over all streams together."""
    good = _good(samples)
    if good.empty:
        return
    window_s = (good["end_ns"].max() - good["start_ns"].min()) / 1e9
    bits = float(good["bytes"].sum()) * 8
    yield Measured(metric=metric, value=bits / window_s, samples=np.empty(0), n=len(good))
