"""Which measurements may be used. Every report asks the checks again, from the evidence on disk."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import pandas as pd

from harness.analysis import bills
from harness.analysis.compare import Occasion
from harness.analysis.measures import Measured, measure, probe_costs
from harness.evidence.case import Case
from harness.evidence.model import CellStatus, CellVerdict, Check, CheckStatus
from harness.evidence.samples import Columns, counts, first_packets
from harness.evidence.verdict import evaluate
from harness.plan.model import Configuration, Load, Path, State
from harness.results.read import Damaged, StoredCell, StoredRun, Unreadable
from harness.topology.allocator import TopologyError
from harness.topology.document import from_json
from harness.topology.model import Topology

Ends = Mapping[Path, tuple[str, str]]
"""Path -> client's and target's name."""
Evaluate = Callable[[Case], CellVerdict]
"""`harness.evidence.verdict.evaluate`, or a stand-in for it."""

INTEGRITY = "integrity"
"""Name of the check that a cell's files are what was saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCell:
    """A cell, its verdict, and its metrics."""

    stored: StoredCell
    case: Case
    """Its evidence, opened when first looked at."""
    verdict: CellVerdict
    measured: Mapping[str, Measured]
    """Metric -> value; empty where the samples cannot be believed."""
    bills: Mapping[str, bills.StageBill]
    """Stage -> what its processes used; empty where the evidence does not hold it."""
    probe_costs: Mapping[State, float]
    """First state -> seconds that a probe took beyond what was asked for."""

    @property
    def occasion(self) -> Occasion:
        """Its round and bout."""
        return self.stored.record.cell.round, self.stored.record.cell.bout

    @property
    def configuration(self) -> Configuration:
        """Its factors."""
        return self.stored.record.cell.configuration

    def holds(self, but: str = "") -> bool:
        """Whether nothing disturbed it and every check holds, but perhaps the one of that name."""
        failed = {CheckStatus.INVALID, CheckStatus.UNKNOWN}
        return not self.verdict.disturbed and not any(
            check.status in failed and check.name != but for check in self.verdict.checks
        )

    @property
    def usable(self) -> bool:
        """Whether it may enter figures and comparisons."""
        return self.verdict.status is CellStatus.VALID and not self.verdict.disturbed

    @property
    def reasons(self) -> list[str]:
        """Why it is not valid, or what disturbed it, one sentence each."""
        failed = {CheckStatus.INVALID, CheckStatus.UNKNOWN}
        checks = [f"{check.name}: {check.reason}" for check in self.verdict.checks if check.status in failed]
        return checks + [f"{remark.kind.value}: {remark.reason}" for remark in self.verdict.remarks]


def judge(run: StoredRun, evaluate: Evaluate = evaluate) -> list[JudgedCell]:
    """Judge every cell of a run.

    Raises:
        Unreadable: The run's topology cannot be read.
    """
    try:
        topology = from_json(json.dumps(run.topology))
    except TopologyError as exc:
        raise Unreadable(f"{run.folder}: {exc}") from exc
    ends = {Path(path): (pair["from"], pair["to"]) for path, pair in run.manifest.suite["paths"].items()}
    judge_cell = _Judge(run.plan.load, topology, ends, evaluate)
    return [judge_cell(cell) for cell in run.cells]


@dataclass(frozen=True, slots=True)
class _Judge:
    """What all cells of a run have in common."""

    load: Load
    topology: Topology
    ends: Ends
    evaluate: Evaluate

    def __call__(self, cell: StoredCell) -> JudgedCell:
        damage, frames = list(cell.damage), {}
        for stage in cell.rows:
            try:
                frames[stage] = cell.samples(stage)
            except Damaged as exc:
                damage.append(str(exc))
        case = self._case(cell, frames)
        spent = bills.stage_bills(case, frames)
        costs = bills.measure(case, spent, later=self.load.later_requests)
        return JudgedCell(
            stored=cell,
            case=case,
            verdict=_with_integrity(self.evaluate(case), damage),
            measured={}
            if damage
            else {each.metric: each for each in (*measure(frames, cell.evidence), *costs)},
            bills=spent,
            probe_costs=probe_costs(frames["probe"], self.load) if "probe" in frames else {},
        )

    def _case(self, cell: StoredCell, frames: Mapping[str, pd.DataFrame]) -> Case:
        configuration = cell.record.cell.configuration
        client, target = self.ends[configuration.path]
        topology = self.topology.lane(cell.record.cell.lane)
        columns = {stage: _columns(frame) for stage, frame in frames.items()}
        return Case(
            configuration=configuration,
            topology=topology,
            client=topology.member(client),
            target=topology.target(target),
            documents=cell.evidence,
            samples=counts(columns),
            first_packets=first_packets(columns["probe"]) if "probe" in columns else (),
        )


def _with_integrity(verdict: CellVerdict, damage: list[str]) -> CellVerdict:
    """Put the files' own check first. A damaged cell proves nothing, neither good nor bad: it is unknown."""
    check = Check(
        name=INTEGRITY,
        status=CheckStatus.UNKNOWN if damage else CheckStatus.VALID,
        reason="; ".join(damage) or "every file is as it was saved",
    )
    status = CellStatus.UNKNOWN if damage else verdict.status
    return replace(verdict, status=status, checks=(check, *verdict.checks))


def _columns(frame: pd.DataFrame) -> Columns:
    return {name: frame[name].to_numpy() for name in frame.columns}


def by_configuration(
    cells: Iterable[JudgedCell], *, twins: bool = False
) -> Iterator[tuple[Configuration, list[JudgedCell]]]:
    """The cells by configuration, in the order of the plan's; `twins`: theirs beside them, apart."""
    groups: dict[Configuration, list[JudgedCell]] = {}
    for cell in cells:
        if twins or not cell.configuration.twin:
            groups.setdefault(cell.configuration, []).append(cell)
    yield from groups.items()
