"""Recorded runs made up from a known truth, for tests of the analysis and of the report.

Evidence comes from the honest walk of the evidence tests, at the size of the suite's load. Samples
are drawn around medians that `truth` gives, with a weather of each round that all its cells share, and
an effect of each lane. A twin has the truth of the configuration that it repeats.
Nothing of this is reachable from the product.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path as FilePath
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from harness.evidence.samples import first_packets
from harness.load.records import PROBE_FIELDS, REQUEST_FIELDS, TRANSFER_FIELDS
from harness.plan.model import Cell, Configuration, Interception, Load, Path, State
from harness.plan.order import looks, plan
from harness.results.schema import CellRecord, Instant, RunStatus
from harness.results.write import RunWriter
from harness.suite.model import Suite
from harness.tests.evidence import walk
from harness.tests.evidence.journals import made_up
from harness.topology.allocator import resolve
from harness.topology.document import to_json

Rows = NDArray[np.int64]
Truth = Callable[[Configuration], Mapping[str, float]]
"""Configuration -> metric's true median, in the units of `harness.analysis.measures`."""

ENVIRONMENT = {
    "host": {"kernel": "6.18.0", "cpu": "Example CPU", "cores": 2, "clocksource": "tsc", "governor": None},
    "software": {"python": "3.11.7", "h2": "4.4.1", "openssl": "OpenSSL 3.0.15", "engine": "netns"},
    "sysctls": {"net.ipv4.tcp_congestion_control": "cubic"},
    "source": {"version": "0.1.0", "commit": "0" * 40, "dirty": False},
    "busy": {"load": [0.1, 0.2, 0.3], "cpu_ticks": {"steal": 0}},
}


def truth(configuration: Configuration) -> dict[str, float]:
    """Medians of the size that a proxy in Python shows on two cores."""
    far = configuration.path is not Path.SAME_NODE
    steady, new = (95e-6, 230e-6) if far else (80e-6, 200e-6)
    medians = {"requests": 28_000.0, "transfer": 14e9}
    if configuration.dataplane != "none":
        proxies = 1 if not configuration.tunnelled else 2
        steady += proxies * 150e-6
        new += proxies * 420e-6
        medians = {"requests": 9_000.0 / proxies, "transfer": 4e9 / proxies**2}
    if configuration.interception is Interception.TPROXY:
        steady += 1e-6
    if configuration.interception in {Interception.TPROXY, Interception.TPROXY_NOTRACK}:
        steady += configuration.filler_rules * 16e-9
    cold = new + 4.1e-3
    return {
        "first.cold": cold,
        "first.warm": new,
        "first.new": new,
        "steady": steady,
        "rate": steady * 1.08,
        **medians,
    }


def record(
    root: FilePath,
    suite: Suite,
    *,
    run: str = "20260102-030405-test",
    seed: int = 7,
    truth: Truth = truth,
    weather: float = 0.08,
    noise: float = 0.015,
    lanes: Mapping[int, float] = MappingProxyType({}),
    spoil: Callable[[Cell, dict[str, Any]], None] = lambda _cell, _evidence: None,
    status: RunStatus = RunStatus.COMPLETE,
    cells: int | None = None,
    trips: Sequence[Mapping[str, Any]] = (),
) -> FilePath:
    """Write a run folder as a real run would.

    Args:
        truth: Each configuration's medians.
        weather: Standard deviation (log) of what all cells of a round share.
        noise: Standard deviation (log) of each cell and metric on its own.
        lanes: Lane -> by which all its latencies are multiplied, and its throughputs divided.
        spoil: Replaces documents of a cell's evidence, to make it invalid; they are shared, so copy first.
        cells: How many cells to measure; all by default.
        trips: Round trips over the delay line, as the run measures them before its cells.
    """
    random = np.random.default_rng(seed)
    laid_out = plan(suite, seed=seed)
    topology = resolve(suite.topology, laid_out.lanes)
    writer = RunWriter.create(
        root,
        run=run,
        suite=suite,
        plan=laid_out,
        topology=to_json(topology),
        environment=ENVIRONMENT,
        command=["ambientbench", "run", suite.name, "--seed", str(seed)],
        looks=looks(suite.rounds, laid_out.rounds),
        engine="netns",
        engine_reason="asked for",
    )
    writer.update(status=RunStatus.RUNNING, timing={"up_s": 4.2})
    if trips:
        writer.delay(trips)
    ends = {path: (pair.source, pair.destination) for path, pair in suite.paths.items()}
    rounds = np.exp(random.normal(0, weather, laid_out.rounds + 1))
    clock = 10**12
    honest: dict[tuple[int, Configuration], Mapping[str, Any]] = {}
    # Durable to no end: fsync is half of the time that a run's files take.
    with patch("os.fsync"):
        for bout in laid_out.bouts:
            began, taken = clock, []
            for cell in bout.cells:
                slower = float(rounds[cell.round]) * lanes.get(cell.lane, 1.0)
                medians = {
                    metric: value
                    * float(np.exp(random.normal(0, noise)))
                    / (slower if metric in {"requests", "transfer"} else 1 / slower)
                    for metric, value in truth(replace(cell.configuration, twin=False)).items()
                }
                payloads, clock = _samples(random, cell, suite.load, medians, clock)
                lane = topology.lane(cell.lane)
                if (cell.lane, cell.configuration) not in honest:
                    with _walk_at(suite.load, lane, ends):
                        honest[cell.lane, cell.configuration] = walk.honest(cell.configuration).documents
                evidence = dict(honest[cell.lane, cell.configuration])
                client, target = (lane.member(name) for name in ends[cell.configuration.path])
                evidence["journal"] = made_up(
                    cell.configuration, client, target, first_packets(_columns(payloads["probe"]))
                )
                evidence["answers"] = _with_turns(evidence["answers"], payloads)
                spoil(cell, evidence)
                taken.append((cell, payloads, evidence))
            for cell, payloads, evidence in taken:
                if cells is not None and cell.index >= cells:
                    break
                writer.cell(
                    CellRecord(
                        cell=cell,
                        started=Instant(wall="2026-01-02T03:04:05.000+00:00", monotonic_ns=began),
                        ended=Instant(wall="2026-01-02T03:04:07.000+00:00", monotonic_ns=clock),
                        timing=_timing(suite.load, len(bout.cells)),
                        verdict={},  # the analysis asks the checks itself
                    ),
                    {stage: rows.astype("<i8").tobytes() for stage, rows in payloads.items()},
                    evidence,
                )
            clock += 10**7 * len(bout.cells)
            if cells is not None and bout.cells[-1].index >= cells - 1:
                break
    writer.update(status=status, timing={"down_s": 1.1, "bench_s": (clock - 10**12) / 1e9})
    writer.close()
    return writer.folder


def _timing(load: Load, lanes: int) -> dict[str, float]:
    """Seconds of a bout's steps and stages."""
    stages = {"rate_s": load.rate_s, "requests_s": load.requests_s, "transfer_s": load.transfer_s}
    spent = {name: lanes * (seconds + 0.01) for name, seconds in stages.items()}
    steps = {"place_s": 0.3 * lanes, "prove_s": 0.06, "begin_s": 0.04, "end_s": 0.05 * lanes}
    return {**steps, "load_s": sum(spent.values()), **spent}


def _with_turns(document: Mapping[str, Any], payloads: Mapping[str, Rows]) -> dict[str, Any]:
    """The answers of load that had one turn, as long as its rows."""
    told = copy.deepcopy(dict(document))
    for stage, fields in (("requests", REQUEST_FIELDS), ("transfer", TRANSFER_FIELDS)):
        rows = payloads[stage]
        start_ns, end_ns = rows[:, fields.index("start_ns")].min(), rows[:, fields.index("end_ns")].max()
        told["stages"][stage]["turns"] = [[int(start_ns), int(end_ns), True]]
    return told


def _columns(probe: Rows) -> dict[str, NDArray[Any]]:
    """The probe's rows by field, states by name."""
    columns: dict[str, NDArray[Any]] = dict(zip(PROBE_FIELDS, probe.T, strict=True))
    return {**columns, "state": np.array([state.value for state in State])[columns["state"]]}


REQUEST_ROWS = 600


@contextmanager
def _walk_at(load: Load, topology: Any, ends: Mapping[Path, tuple[str, str]]) -> Iterator[None]:
    """The honest walk in this suite's topology and at the size of its load."""
    with patch.multiple(
        walk,
        TOPOLOGY=topology,
        PATHS=ends,
        PROBES=load.probes,
        LATER=load.later_requests,
        RATE_CONNECTIONS=load.rate_connections,
        RATE_ROWS=_rate_rows(load),
        REQUESTS_CONNECTIONS=load.requests_connections,
        REQUESTS_ROWS=REQUEST_ROWS,
        STREAMS=load.transfer_streams,
        TRANSFER_ROWS=8 * load.transfer_streams,
    ):
        yield


def _rate_rows(load: Load) -> int:
    return max(1, round(load.rate_hz * load.rate_s))


def _samples(
    random: np.random.Generator, cell: Cell, load: Load, medians: Mapping[str, float], clock: int
) -> tuple[dict[str, Rows], int]:
    probes, clock = _probes(random, cell.configuration, load, medians, clock + 10**8)
    rate, clock = _requests(
        random, _rate_rows(load), load.rate_connections, medians["rate"], clock=clock, window_s=load.rate_s
    )
    window_s = REQUEST_ROWS / medians["requests"]
    each_s = window_s * load.requests_connections / REQUEST_ROWS
    requests, clock = _requests(
        random, REQUEST_ROWS, load.requests_connections, each_s, clock=clock, window_s=window_s
    )
    transfer, clock = _transfers(load, medians["transfer"], clock)
    return {"probe": probes, "rate": rate, "requests": requests, "transfer": transfer}, clock


def _latency(random: np.random.Generator, median_s: float, count: int) -> Rows:
    """Right-skewed, as latencies are, with the median asked for."""
    spread = np.abs(random.normal(0, 0.12, count)) * random.choice([-0.5, 1.0], count)
    latency: Rows = (median_s * np.exp(spread) * 1e9).astype(np.int64)
    return latency


def _probes(
    random: np.random.Generator,
    configuration: Configuration,
    load: Load,
    medians: Mapping[str, float],
    clock: int,
) -> tuple[Rows, int]:
    codes = {state: code for code, state in enumerate(State)}
    names = {State.COLD: "first.cold", State.WARM: "first.warm", State.NEW: "first.new"}
    rows = []
    connection = 0
    for _ in range(load.probes):
        for state in (each for each in configuration.states if each in names):
            clock += 10**6 + round(load.gap_ms * 1e6)
            first = int(_latency(random, medians[names[state]], 1)[0])
            later = _latency(random, medians["steady"], load.later_requests)
            for sequence, latency in enumerate([first, *later.tolist()]):
                code = codes[state] if sequence == 0 else codes[State.STEADY]
                connected = clock + (latency // 4 if sequence == 0 else 0)
                done = clock + latency
                rows.append(
                    (
                        connection,
                        sequence,
                        code,
                        clock,
                        clock,
                        connected,
                        connected + 1000,
                        done,
                        done + 2000,
                        40_000 + connection,
                        1,
                    )
                )
                clock = max(done + 2000, clock + round(load.later_interval_ms * 1e6))
            connection += 1
    return np.array(rows, dtype=np.int64).reshape(-1, len(PROBE_FIELDS)), clock


def _requests(
    random: np.random.Generator, count: int, users: int, median_s: float, *, clock: int, window_s: float
) -> tuple[Rows, int]:
    starts = clock + (np.arange(count) * (window_s * 1e9 / count)).astype(np.int64)
    latency = _latency(random, median_s, count)
    rows = np.zeros((count, len(REQUEST_FIELDS)), dtype=np.int64)
    rows[:, 0] = np.arange(count) % users
    rows[:, 1], rows[:, 2] = starts, starts
    rows[:, 3], rows[:, 4] = starts + latency, starts + latency + 1000
    rows[:, 5], rows[:, 6], rows[:, 7] = 300, 41000, 1
    rows[-1, 4] = max(clock + math.ceil(window_s * 1e9), rows[-1, 4])
    return rows, int(rows[:, 4].max())


def _transfers(load: Load, bits_per_s: float, clock: int) -> tuple[Rows, int]:
    intervals, streams = 8, load.transfer_streams
    length = max(1, round(load.transfer_s * 1e9 / intervals))
    rows = [
        (
            user,
            clock + step * length,
            clock + (step + 1) * length,
            round(bits_per_s / 8 / streams * length / 1e9),
            42000,
            1,
        )
        for user in range(streams)
        for step in range(intervals)
    ]
    return np.array(rows, dtype=np.int64).reshape(-1, len(TRANSFER_FIELDS)), clock + intervals * length
