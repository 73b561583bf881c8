"""The story of a run: plan, lanes up, for each round its bouts, a look now and then, lanes down.

A run is saved in three steps: the plan before anything starts, each bout as it ends, and how it all ended.
The analysis is somebody else's and can be done again at any time; the run asks only whether that is enough.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.control import ControlError
from harness.engines.choice import Choice
from harness.errors import RunFailed
from harness.evidence.case import Case
from harness.evidence.model import CellVerdict, CheckStatus
from harness.evidence.samples import Columns, counts, first_packets
from harness.evidence.verdict import evaluate
from harness.interrupts import Interrupted, Interrupts
from harness.plan.model import Bout, Cell, Plan, State
from harness.plan.order import looks
from harness.results import environment, layout
from harness.results.schema import CellRecord, Manifest, RunStatus
from harness.results.write import RunWriter
from harness.run.bout import Bench, Measured, placement
from harness.run.progress import Display
from harness.suite.model import Suite
from harness.testbed.placement import Placement
from harness.testbed.testbed import Testbed
from harness.topology.document import to_json
from harness.topology.model import Topology


class BoutFailed(RunFailed):
    """A member refused or was gone in the middle of a bout; what was measured before is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything that a run is made of."""

    run: str
    suite: Suite
    plan: Plan
    topology: Topology
    """With as many lanes as the plan takes."""
    choice: Choice
    command: tuple[str, ...]
    """The command line that makes this run again."""
    results: Path
    """Where runs are kept."""
    before: Manifest | None = None
    """Of a run that is gone on with; None for a new one."""
    measured: frozenset[int] = frozenset()
    """Indices of the cells that it has already."""
    answered: Callable[[Path], str] = lambda _: ""
    """Told the run's folder at each look: why the run is over, empty while a question is open."""

    @property
    def bouts(self) -> tuple[Bout, ...]:
        """What is left to measure; a bout is measured whole or not at all."""
        return tuple(
            bout for bout in self.plan.bouts if not {cell.index for cell in bout.cells} <= self.measured
        )


def carry_out(request: Request, display: Display, interrupts: Interrupts) -> Path:
    """Do the plan, as much of it as the questions take.

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
            enough = _measure(request, writer, display, interrupts)
        except Interrupted as exc:
            writer.update(status=RunStatus.ABORTED, reason=str(exc))
            raise
        except Exception as exc:
            writer.update(status=RunStatus.FAILED, reason=str(exc))
            raise
        writer.update(status=RunStatus.COMPLETE, reason=enough)
    return writer.folder


def _writer(request: Request) -> RunWriter:
    if request.before is not None:
        return RunWriter.go_on(request.results / request.run, request.before, request.plan, request.measured)
    return RunWriter.create(
        request.results,
        run=request.run,
        suite=request.suite,
        plan=request.plan,
        topology=to_json(request.topology),
        environment=environment.collect(),
        command=request.command,
        looks=looks(request.suite.rounds, request.plan.rounds),
        engine=request.choice.name,
        engine_reason=request.choice.reason,
    )


def _measure(request: Request, writer: RunWriter, display: Display, interrupts: Interrupts) -> str:
    """Bring the lanes up, measure, take them down.

    Returns:
        Why it was enough.
    """
    display.step(f"bringing up the testbed on {request.choice.name} ({request.choice.reason})")
    leaving = 0.0
    try:
        with _bed(request, writer, display) as bed:
            _note_bed(bed, writer)
            display.step(f"testbed up after {bed.up_s:.1f} s, {len(bed.lanes)} lanes")
            try:
                return _Rounds(request, bed, writer, display).measure()
            finally:
                if not interrupts.hastened:
                    bed.collect_logs(writer.folder / layout.LOGS)
                leaving = time.monotonic()
    finally:
        if leaving:
            writer.update(timing={"down_s": time.monotonic() - leaving})


def _bed(request: Request, writer: RunWriter, display: Display) -> Testbed:
    return Testbed(
        choice=request.choice,
        topology=request.topology,
        placements=_placements(request.bouts[0], request.topology.lanes),
        suite=request.suite.name,
        told=display.step,
        failure_logs=writer.folder / layout.LOGS,
    )


def _placements(first: Bout, lanes: int) -> tuple[Placement, ...]:
    """What the lanes carry as they come up: the first bout's configurations; free lanes, the first one's."""
    by_lane = {cell.lane: placement(cell.configuration) for cell in first.cells}
    usual = placement(first.cells[0].configuration)
    return tuple(by_lane.get(number, usual) for number in range(1, lanes + 1))


def _note_bed(bed: Testbed, writer: RunWriter) -> None:
    """Write down how the testbed came up and what is in it."""
    timing = {f"up_{name.replace(' ', '_')}_s": seconds for name, seconds in bed.stages_s.items()}
    writer.update(status=RunStatus.RUNNING, timing={"up_s": bed.up_s, **timing})
    writer.members(
        {
            "members": bed.describe(),
            "lanes": {str(lane.number): lane.placement.document() for lane in bed.lanes},
            "agents": {node: reply.document for node, reply in bed.ask_agents("hello").items()},
            "proxies": {
                f"{lane.number}/{node}": reply.document
                for lane in bed.lanes
                for node, reply in lane.ask_proxies("hello").items()
            },
            "cpu_sets": bed.cpu_sets.because,
        }
    )


class _Rounds:
    """The plan's bouts, one after the other, on a testbed that is up."""

    def __init__(self, request: Request, bed: Testbed, writer: RunWriter, display: Display) -> None:
        self._request = request
        self._writer = writer
        self._display = display
        self._bench = Bench(bed, request.suite, request.plan.seed)
        self._looks = looks(request.suite.rounds, request.plan.rounds)
        self._spent: list[Mapping[str, float]] = []

    def measure(self) -> str:
        """Measure all bouts, or as many as it takes; what their steps took is recorded however it ends.

        Returns:
            Why it was enough.
        """
        bouts = self._request.bouts
        predicted = self._request.plan.predicted_s / len(self._request.plan.bouts)
        began = time.monotonic()
        try:
            self._fit_delay(bouts)
            for done, bout in enumerate(bouts):
                if (
                    done
                    and bout.round != bouts[done - 1].round
                    and (enough := self._enough(bouts[done - 1].round, began))
                ):
                    return enough
                pace = (time.monotonic() - began) / done if done else predicted
                self._display.bout(bout, done=done, total=len(bouts), left_s=pace * (len(bouts) - done))
                self._save(bout, self._measured(bout))
            return f"all {self._request.plan.rounds} rounds are measured"
        finally:
            self._bench.close()
            self._writer.update(timing={"bench_s": time.monotonic() - began, **_medians(self._spent)})

    def _enough(self, rounds: int, began: float) -> str:
        """Why no further round is needed after so many; empty where one is."""
        suite = self._request.suite
        if rounds < suite.rounds:
            return ""
        if suite.minutes and time.monotonic() - began > suite.minutes * 60:
            return f"after {rounds} rounds the suite's {suite.minutes:g} minutes were over"
        return self._request.answered(self._writer.folder) if rounds in self._looks else ""

    def _fit_delay(self, bouts: tuple[Bout, ...]) -> None:
        """Measure distances by themselves before anything is measured over them."""
        found = self._bench.fit_delay(bouts)
        if found:
            self._display.step(f"delay ({found[-1]['kind']}) measured by itself, {len(found)} times over")
            self._writer.delay(found)

    def _measured(self, bout: Bout) -> dict[Cell, Measured]:
        try:
            return self._bench.measure(bout)
        except (ControlError, RunFailed) as exc:
            raise BoutFailed(
                f"bout {bout.name}: {exc}; {self._bench.bed.whose_end()}; "
                f"logs are in {self._writer.folder / layout.LOGS}"
            ) from exc

    def _save(self, bout: Bout, measured: Mapping[Cell, Measured]) -> None:
        saving = time.monotonic()
        for cell, found in measured.items():
            verdict = judge(self._request.suite, self._request.topology, cell, found)
            for check in verdict.checks:
                if check.status is CheckStatus.INVALID:
                    self._display.step(f"invalid {cell.name}: {check.name}: {check.reason}")
            self._writer.cell(
                CellRecord(
                    cell=cell,
                    started=found.started,
                    ended=found.ended,
                    timing=found.timing,
                    verdict=verdict.document(),
                ),
                found.payloads,
                found.evidence,
            )
        self._spent.append({**measured[bout.cells[0]].timing, "save_s": time.monotonic() - saving})


def judge(suite: Suite, topology: Topology, cell: Cell, measured: Measured) -> CellVerdict:
    """What the cell's evidence proves, asked at once so that a broken run is seen while it runs."""
    ends = suite.paths[cell.configuration.path]
    lane = topology.lane(cell.lane)
    samples = {stage: _columns(stage, payload) for stage, payload in measured.payloads.items()}
    return evaluate(
        Case(
            configuration=cell.configuration,
            topology=lane,
            client=lane.member(ends.source),
            target=lane.target(ends.destination),
            documents=measured.evidence,
            samples=counts(samples),
            first_packets=first_packets(samples["probe"]) if "probe" in samples else (),
        )
    )


def _columns(stage: str, payload: bytes) -> Columns:
    """A stage's rows by field, as they came."""
    fields = layout.SAMPLES[stage][1]
    table = np.frombuffer(payload, dtype="<i8").reshape(-1, len(fields))
    columns: dict[str, np.ndarray] = {name: table[:, index] for index, name in enumerate(fields)}
    if "state" in columns:
        columns["state"] = np.array([state.value for state in State])[columns["state"]]
    return columns


def _medians(spent: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Seconds that a bout took for each of its steps, median over the bouts."""
    names = sorted({name for timing in spent for name in timing})
    return {f"bout_{name}": statistics.median([t[name] for t in spent if name in t]) for name in names}
