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
from harness.evidence.model import CellVerdict, SampleCounts
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
    suite = request.suite
    first = request.plan.cells[0].configuration
    display.step(f"bringing up the testbed on {request.choice.name} ({request.choice.reason})")
    bed = Testbed(
        choice=request.choice,
        topology=request.topology,
        dataplane=_dataplane(suite),
        interception=first.interception,
        filler_rules=first.filler_rules,
        suite=suite.name,
        told=display.step,
    )
    leaving = 0.0
    try:
        with bed:
            writer.update(status=RunStatus.RUNNING, up_s=bed.up_s, **_prefixed("up", bed.stages_s))
            writer.members(bed.describe())
            display.step(f"testbed up after {bed.up_s:.1f} s")
            try:
                _cells(request, bed, writer, display)
            finally:
                if not interrupts.hastened:
                    bed.collect_logs(writer.folder / layout.LOGS)
                leaving = time.monotonic()
    finally:
        if leaving:
            writer.update(down_s=time.monotonic() - leaving)


def _cells(request: Request, bed: Testbed, writer: RunWriter, display: Display) -> None:
    bench = Bench(bed, request.suite)
    began = time.monotonic()
    spent: list[Mapping[str, float]] = []
    total = len(request.plan.cells)
    try:
        for done, cell in enumerate(request.plan.cells):
            elapsed = time.monotonic() - began
            pace = elapsed / done if done else request.plan.predicted_s / total
            display.cell(cell, done=done, total=total, left_s=pace * (total - done))
            spent += _cell(request, bed, bench, writer, display, cell)
    finally:
        bench.close()
        writer.update(bench_s=time.monotonic() - began, **_medians(spent))


def _cell(
    request: Request, bed: Testbed, bench: Bench, writer: RunWriter, display: Display, cell: Cell
) -> list[Mapping[str, float]]:
    """Measure a cell, again when it was disturbed; every measurement is kept."""
    spent: list[Mapping[str, float]] = []
    for attempt in range(1, request.suite.noisy_repeats + 2):
        try:
            measured = bench.measure(cell)
        except ControlError as exc:
            ended = ", ".join(f"{name} ended with {code}" for name, code in bed.exited().items())
            raise CellFailed(
                f"cell {cell.name}: {exc}; {ended or 'every member still runs'}; "
                f"logs are in {writer.folder / layout.LOGS}"
            ) from exc
        began = time.monotonic()
        verdict = judge(request, cell, measured)
        measured.timing["judge_s"] = time.monotonic() - began
        writer.cell(
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
        spent.append(measured.timing | {"save_s": time.monotonic() - began})
        for check in verdict.checks:
            if check.status.value == "invalid":
                display.step(f"INVALID {cell.name}: {check.name}: {check.reason}")
        if not verdict.noisy:
            break
    return spent


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


def _prefixed(prefix: str, stages_s: Mapping[str, float]) -> dict[str, float]:
    return {f"{prefix}_{name.replace(' ', '_')}_s": seconds for name, seconds in stages_s.items()}


def _medians(spent: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds that a cell took for each of its steps, median over the cells."""
    names = sorted({name for timing in spent for name in timing})
    return {f"cell_{name}": statistics.median([t[name] for t in spent if name in t]) for name in names}
