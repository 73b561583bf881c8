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

import numpy as np

from harness.control import ControlError
from harness.engines.choice import Choice
from harness.errors import RunFailed
from harness.evidence.case import Case
from harness.evidence.model import CellVerdict, CheckStatus, SampleCounts
from harness.evidence.verdict import evaluate
from harness.plan.model import Cell, Plan, State
from harness.results import environment, layout
from harness.results.schema import CellRecord, RunStatus
from harness.results.write import RunWriter
from harness.run.cell import Bench, Measured
from harness.run.interrupts import Interrupted, Interrupts
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


def carry_out(request: Request, display: Display, interrupts: Interrupts) -> Path:
    """Do the whole plan.

    Returns:
        The run's folder, with its status `complete`.

    Raises:
        Interrupted: Somebody asked for the end; the folder's status is `aborted`, its cells are kept.
        RunFailed: Something broke; the folder's status is `failed`, its cells are kept.
    """
    writer = RunWriter.create(
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


def _measure(request: Request, writer: RunWriter, display: Display, interrupts: Interrupts) -> None:
    first = request.plan.cells[0].configuration
    display.step(f"bringing up the testbed on {request.choice.name} ({request.choice.reason})")
    bed = Testbed(
        choice=request.choice,
        topology=request.topology,
        dataplane=_dataplane(request.suite),
        interception=first.interception,
        filler_rules=first.filler_rules,
        suite=request.suite.name,
        told=display.step,
        failure_logs=writer.folder / layout.LOGS,
    )
    leaving = 0.0
    try:
        with bed:
            stages = {f"up_{name.replace(' ', '_')}_s": seconds for name, seconds in bed.stages_s.items()}
            writer.update(status=RunStatus.RUNNING, timing={"up_s": bed.up_s, **stages})
            agents = {node: reply.document for node, reply in bed.ask_agents("hello").items()}
            writer.members({"members": bed.describe(), "agents": agents})
            display.step(f"testbed up after {bed.up_s:.1f} s")
            try:
                _Cells(request, bed, writer, display).measure()
            finally:
                if not interrupts.hastened:
                    bed.collect_logs(writer.folder / layout.LOGS)
                leaving = time.monotonic()
    finally:
        if leaving:
            writer.update(timing={"down_s": time.monotonic() - leaving})


class _Cells:
    """The plan's cells, one after the other, on a testbed that is up."""

    def __init__(self, request: Request, bed: Testbed, writer: RunWriter, display: Display) -> None:
        self._request = request
        self._bed = bed
        self._writer = writer
        self._display = display
        self._bench = Bench(bed, request.suite)
        self._spent: list[Mapping[str, float]] = []

    def measure(self) -> None:
        """Measure all of them; what their steps took is recorded however it ends."""
        plan = self._request.plan
        total = len(plan.cells)
        began = time.monotonic()
        try:
            for done, cell in enumerate(plan.cells):
                pace = (time.monotonic() - began) / done if done else plan.predicted_s / total
                self._display.cell(cell, done=done, total=total, left_s=pace * (total - done))
                self._cell(cell)
        finally:
            self._bench.close()
            self._writer.update(timing={"bench_s": time.monotonic() - began, **_medians(self._spent)})

    def _cell(self, cell: Cell) -> None:
        """Measure a cell, again when it was disturbed; every measurement is kept."""
        for attempt in range(1, self._request.suite.noisy_repeats + 2):
            verdict = self._once(cell, attempt)
            for check in verdict.checks:
                if check.status is CheckStatus.INVALID:
                    self._display.step(f"invalid {cell.name}: {check.name}: {check.reason}")
            if not verdict.noisy:
                return

    def _once(self, cell: Cell, attempt: int) -> CellVerdict:
        try:
            measured = self._bench.measure(cell)
        except ControlError as exc:
            ended = ", ".join(f"{name} ended with {code}" for name, code in self._bed.exited().items())
            raise CellFailed(
                f"cell {cell.name}: {exc}; {ended or 'every member still runs'}; "
                f"logs are in {self._writer.folder / layout.LOGS}"
            ) from exc
        saving = time.monotonic()
        verdict = judge(self._request, cell, measured)
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


def judge(request: Request, cell: Cell, measured: Measured) -> CellVerdict:
    """What the cell's evidence proves, asked at once so that a broken run is seen while it runs."""
    ends = request.suite.paths[cell.configuration.path]
    return evaluate(
        Case(
            configuration=cell.configuration,
            topology=request.topology,
            client=request.topology.member(ends.source),
            target=request.topology.member(ends.destination),
            documents=measured.evidence,
            samples=sample_counts(measured.payloads),
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


def _dataplane(suite: Suite) -> str:
    """The data plane that has to run: the one beside `none` that the configurations name."""
    names = {configuration.dataplane for configuration in suite.configurations} - {"none"}
    return min(names, default="none")


def _medians(spent: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds that a cell took for each of its steps, median over the cells."""
    names = sorted({name for timing in spent for name in timing})
    return {f"cell_{name}": statistics.median([t[name] for t in spent if name in t]) for name in names}
