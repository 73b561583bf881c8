"""The story of a run: plan, save, bring up, measure, take down, save again.

A run is saved in three steps: the plan before anything starts, each cell as it ends, and how it all
ended. The analysis is somebody else's and can be done again at any time.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from harness.control import ControlError
from harness.engines.choice import Choice
from harness.errors import RunFailed
from harness.evidence.case import Case
from harness.evidence.model import (
    FIRST_PACKET_TIMES,
    CellStatus,
    CellVerdict,
    CheckStatus,
    FirstPacket,
    SampleCounts,
)
from harness.evidence.verdict import disturbed, evaluate
from harness.interrupts import Interrupted, Interrupts
from harness.plan.model import Cell, Configuration, Plan, State
from harness.results import environment, layout
from harness.results.schema import CellRecord, Manifest, RunStatus
from harness.results.write import RunWriter
from harness.run.cell import Bench, Measured
from harness.run.progress import Display
from harness.suite.model import Suite
from harness.testbed.testbed import Testbed
from harness.topology.document import to_json
from harness.topology.model import Topology


class CellFailed(RunFailed):
    """A member refused or was gone in the middle of a cell; what was measured before is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that a run is made of."""

    run: str
    suite: Suite
    plan: Plan
    topology: Topology
    choice: Choice
    command: tuple[str, ...]
    """The command line that makes this run again."""
    results: Path
    """Where runs are kept."""
    before: Manifest | None = None
    """Of a run that is gone on with; None for a new one."""
    measured: frozenset[int] = frozenset()
    """Indices of the cells that it has already."""

    @property
    def cells(self) -> list[Cell]:
        """What is left to measure."""
        return [cell for cell in self.plan.cells if cell.index not in self.measured]


def carry_out(request: Request, display: Display, interrupts: Interrupts) -> Path:
    """Do the whole plan.

    Returns:
        The run's folder, with its status `complete`.

    Raises:
        Interrupted: Somebody asked for the end; the folder's status is `aborted`, its cells are kept.
        RunFailed: Something broke; the folder's status is `failed`, its cells are kept.
    """
    writer = _writer(request)
    with ExitStack() as last:
        last.callback(writer.close)
        try:
            _measure(request, writer, display, interrupts)
        except Interrupted as exc:
            writer.update(status=RunStatus.ABORTED, reason=str(exc))
            raise
        except Exception as exc:
            writer.update(status=RunStatus.FAILED, reason=str(exc))
            raise
        writer.update(status=RunStatus.COMPLETE)
    return writer.folder


def _writer(request: Request) -> RunWriter:
    if request.before is not None:
        return RunWriter.go_on(request.results / request.run, request.before, request.plan)
    return RunWriter.create(
        request.results,
        run=request.run,
        suite=request.suite,
        plan=request.plan,
        topology=to_json(request.topology),
        environment=environment.collect(),
        command=request.command,
        engine=request.choice.name,
        engine_reason=request.choice.reason,
    )


def _measure(request: Request, writer: RunWriter, display: Display, interrupts: Interrupts) -> None:
    display.step(f"bringing up the testbed on {request.choice.name} ({request.choice.reason})")
    leaving = 0.0
    try:
        with ExitStack() as standing:
            beds: dict[str, Testbed] = {}
            for dataplane in _dataplanes(request.suite):
                beds[dataplane] = standing.enter_context(_bed(request, dataplane, writer, display))
            _note_beds(beds, writer)
            display.step(f"testbed up after {sum(bed.up_s for bed in beds.values()):.1f} s")
            try:
                _Cells(request, beds, writer, display).measure()
            finally:
                if not interrupts.hastened:
                    for dataplane, bed in beds.items():
                        bed.collect_logs(_logs(writer, dataplane, alone=len(beds) == 1))
                leaving = time.monotonic()
    finally:
        if leaving:
            writer.update(timing={"down_s": time.monotonic() - leaving})


def _bed(request: Request, dataplane: str, writer: RunWriter, display: Display) -> Testbed:
    first = request.cells[0].configuration
    level, filler_rules = (
        (first.interception, first.filler_rules)
        if first.dataplane == dataplane
        else next(
            (each.interception, each.filler_rules)
            for each in request.suite.configurations
            if each.dataplane == dataplane
        )
    )
    return Testbed(
        choice=request.choice,
        topology=request.topology,
        dataplane=dataplane,
        interception=level,
        filler_rules=filler_rules,
        suite=request.suite.name,
        told=display.step,
        failure_logs=_logs(writer, dataplane, alone=len(_dataplanes(request.suite)) == 1),
    )


def _note_beds(beds: Mapping[str, Testbed], writer: RunWriter) -> None:
    """Write down how the testbeds came up and what is in them, by data plane where there are two."""
    timing = {"up_s": sum(bed.up_s for bed in beds.values())}
    described: dict[str, Any] = {"members": {}, "agents": {}, "proxies": {}}
    for dataplane, bed in beds.items():
        prefix = "" if len(beds) == 1 else f"{dataplane}/"
        for name, seconds in bed.stages_s.items():
            key = f"up_{name.replace(' ', '_')}_s"
            timing[key] = timing.get(key, 0.0) + seconds
        agents = {node: reply.document for node, reply in bed.ask_agents("hello").items()}
        proxies = {node: reply.document for node, reply in bed.ask_proxies("hello").items()}
        described["members"] |= {prefix + name: each for name, each in bed.describe().items()}
        described["agents"] |= {prefix + node: each for node, each in agents.items()}
        described["proxies"] |= {prefix + node: each for node, each in proxies.items()}
    writer.update(status=RunStatus.RUNNING, timing=timing)
    described["cpu_sets"] = next(iter(beds.values())).cpu_sets.because
    writer.members(described)


def _logs(writer: RunWriter, dataplane: str, *, alone: bool) -> Path:
    folder = writer.folder / layout.LOGS
    return folder if alone else folder / dataplane


class _Cells:
    """The plan's cells, one after the other, on testbeds that are up: one per data plane."""

    def __init__(
        self, request: Request, beds: Mapping[str, Testbed], writer: RunWriter, display: Display
    ) -> None:
        self._request = request
        self._writer = writer
        self._display = display
        self._benches = {
            dataplane: Bench(bed, request.suite, request.plan.seed) for dataplane, bed in beds.items()
        }
        self._spent: list[Mapping[str, float]] = []

    def measure(self) -> None:
        """Measure all of them; what their steps took is recorded however it ends."""
        cells = self._request.cells
        predicted = self._request.plan.predicted_s / len(self._request.plan.cells)
        total = len(cells)
        began = time.monotonic()
        try:
            self._fit_delay()
            for done, cell in enumerate(cells):
                pace = (time.monotonic() - began) / done if done else predicted
                self._display.cell(cell, done=done, total=total, left_s=pace * (total - done))
                self._cell(cell)
        finally:
            for bench in self._benches.values():
                bench.close()
            self._writer.update(timing={"bench_s": time.monotonic() - began, **_medians(self._spent)})

    def _fit_delay(self) -> None:
        """Measure distances by themselves before anything is measured over them."""
        for bench in self._benches.values():
            found = bench.fit_delay(
                cell for cell in self._request.cells if self._bench(cell.configuration) is bench
            )
            if found:
                self._display.step(f"delay ({found[-1]['kind']}) measured by itself, {len(found)} times over")
                self._writer.delay(found)

    def _cell(self, cell: Cell) -> None:
        """Measure a cell, again when it was disturbed; every measurement is kept."""
        for attempt in range(1, self._request.suite.noisy_repeats + 2):
            verdict = self._once(cell, attempt)
            for check in verdict.checks:
                if check.status is CheckStatus.INVALID:
                    self._display.step(f"invalid {cell.name}: {check.name}: {check.reason}")
            if not disturbed(verdict):
                return
            if verdict.status is CellStatus.INVALID:
                self._bench(cell.configuration).proofs.forget()  # they may be what failed

    def _bench(self, configuration: Configuration) -> Bench:
        # without a data plane any testbed will do: nothing is captured there
        return self._benches.get(configuration.dataplane, next(iter(self._benches.values())))

    def _once(self, cell: Cell, attempt: int) -> CellVerdict:
        bench = self._bench(cell.configuration)
        try:
            measured = bench.measure(cell)
        except ControlError as exc:
            raise CellFailed(
                f"cell {cell.name}: {exc}; {bench.bed.whose_end()}; "
                f"logs are in {self._writer.folder / layout.LOGS}"
            ) from exc
        saving = time.monotonic()
        verdict = judge(self._request.suite, self._request.topology, cell, measured)
        self._writer.cell(
            CellRecord(
                cell=cell,
                attempt=attempt,
                started=measured.started,
                ended=measured.ended,
                timing=measured.timing,
                verdict=verdict.document(),
            ),
            measured.payloads,
            measured.evidence,
        )
        self._spent.append({**measured.timing, "save_s": time.monotonic() - saving})
        return verdict


def judge(suite: Suite, topology: Topology, cell: Cell, measured: Measured) -> CellVerdict:
    """What the cell's evidence proves, asked at once so that a broken run is seen while it runs."""
    ends = suite.paths[cell.configuration.path]
    return evaluate(
        Case(
            configuration=cell.configuration,
            topology=topology,
            client=topology.member(ends.source),
            target=topology.target(ends.destination),
            documents=measured.evidence,
            samples=sample_counts(measured.payloads),
            first_packets=first_packets(measured.payloads),
        )
    )


def sample_counts(payloads: Mapping[str, bytes]) -> SampleCounts:
    """Count samples as they came, before they are saved."""
    tables = {
        stage: np.frombuffer(payload, dtype="<i8").reshape(-1, len(layout.SAMPLES[stage][1]))
        for stage, payload in payloads.items()
    }
    columns = {stage: {name: i for i, name in enumerate(layout.SAMPLES[stage][1])} for stage in tables}
    first: dict[str, int] = {}
    if "probe" in tables:
        probe, where = tables["probe"], columns["probe"]
        states = probe[probe[:, where["sequence"]] == 0][:, where["state"]]
        first = {state.value: int((states == code).sum()) for code, state in enumerate(State)}
    return SampleCounts(
        first={state: count for state, count in first.items() if count},
        rows={stage: len(table) for stage, table in tables.items()},
        failed={stage: int((table[:, columns[stage]["ok"]] == 0).sum()) for stage, table in tables.items()},
    )


def first_packets(payloads: Mapping[str, bytes]) -> tuple[FirstPacket, ...]:
    """The probe stage's first packets as they came, those that were answered."""
    fields = layout.SAMPLES["probe"][1]
    table = np.frombuffer(payloads.get("probe", b""), dtype="<i8").reshape(-1, len(fields))
    column = {name: table[:, i] for i, name in enumerate(fields)}
    states = list(State)
    return tuple(
        FirstPacket(
            state=states[column["state"][row]].value,
            port=int(column["local_port"][row]),
            **{name: int(column[name][row]) for name in FIRST_PACKET_TIMES},
        )
        for row in np.flatnonzero((column["sequence"] == 0) & (column["ok"] != 0))
    )


def _dataplanes(suite: Suite) -> tuple[str, ...]:
    """The data planes that have to run, each in a testbed of its own: all beside `none`, if there are any."""
    names = dict.fromkeys(configuration.dataplane for configuration in suite.configurations)
    return tuple(name for name in names if name != "none") or ("none",)


def _medians(spent: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds that a cell took for each of its steps, median over the cells."""
    names = sorted({name for timing in spent for name in timing})
    return {f"cell_{name}": statistics.median([t[name] for t in spent if name in t]) for name in names}
