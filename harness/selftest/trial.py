"""Do every sabotage to a real cell and see which check finds it.

Each one is measured right after an honest cell of the same configuration on the same testbed: that one has
to be valid, or what the sabotaged one shows proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

from harness.control import ControlError
from harness.engines.choice import Choice
from harness.evidence.model import CellStatus, CellVerdict, CheckStatus, RemarkKind
from harness.plan.model import Cell
from harness.run.story import judge
from harness.selftest.bed import AlteredBed
from harness.selftest.bench import HarmedBench
from harness.selftest.sabotages import Sabotage
from harness.suite.model import Suite
from harness.suite.resolve import load_suite
from harness.testbed.placement import Placement
from harness.topology.allocator import resolve

ATTEMPTS = 6
"""Of an honest cell, which another tenant of the machine may disturb."""
LANES = 2
CHANGES = (f"lanes={LANES}", "twin=true", "load.rate.seconds=0.3", "load.requests.seconds=0.3")
"""Beside each configuration its twin, and stages long enough for a stall to fall into them."""
ENDED = "run-failed"
"""What fires when the cell does not come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """One thing that the evidence says against a cell."""

    name: str
    """A check that is invalid or unknown, `noisy`, `limited`, `paused`, or `run-failed`."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How one sabotage ended."""

    sabotage: Sabotage
    fired: tuple[Fired, ...]
    honest: tuple[Fired, ...]
    """What was said against the honest cell: nothing, or remarks that the sabotage does not depend on."""

    @property
    def caught(self) -> bool:
        """Whether the right check fired for the right reason, and none of it on the honest cell."""
        return bool(self._right(self.fired)) and not self._right(self.honest) and self.honest_valid

    @property
    def honest_valid(self) -> bool:
        """Whether the honest cell was valid; it may have been disturbed."""
        return all(each.name in {kind.value for kind in RemarkKind} for each in self.honest)

    def document(self) -> dict[str, Any]:
        """For machines."""
        return {
            "sabotage": self.sabotage.name,
            "does": self.sabotage.does,
            "should_fire": self.sabotage.fires,
            "because": self.sabotage.because,
            "fired": [{"name": each.name, "reason": each.reason} for each in self.fired],
            "honest": [{"name": each.name, "reason": each.reason} for each in self.honest],
            "caught": self.caught,
        }

    def _right(self, fired: Sequence[Fired]) -> list[Fired]:
        wanted = self.sabotage
        return [each for each in fired if each.name == wanted.fires and wanted.because in each.reason]


def carry_out(choice: Choice, sabotages: Sequence[Sabotage], told: Callable[[str], None]) -> list[Outcome]:
    """Do the sabotages, those of one testbed together.

    Raises:
        BringUpFailed: A testbed did not come up.
        HarmFailed: A sabotage could not be done.
    """
    suite = load_suite("smoke", [*CHANGES])
    outcomes: list[Outcome] = []
    usual = Placement(dataplane="pyztunnel", interception=suite.default.interception)
    ordered = sorted(sabotages, key=lambda each: (each.alters, each.alteration, each.ends_bed, each.name))
    for (alters, alteration), group in groupby(ordered, key=lambda each: (each.alters, each.alteration)):
        bed = AlteredBed(
            choice=choice,
            topology=resolve(suite.topology, LANES),
            placements=(usual,) * LANES,
            suite=suite.name,
            alteration=alteration,
            alters=alters,
            told=told,
        )
        with bed:
            for outcome in _on(bed, suite, list(group)):
                told(f"{outcome.sabotage.name}: {'caught' if outcome.caught else 'NOT CAUGHT'}")
                outcomes.append(outcome)
    return outcomes


def _on(bed: AlteredBed, suite: Suite, sabotages: Sequence[Sabotage]) -> Iterator[Outcome]:
    bench = HarmedBench(bed, suite)
    try:
        for number, sabotage in enumerate(sabotages):
            cells = _cells(suite, sabotage, round_=1 + 2 * number)
            honest = () if sabotage.alteration else _honest(bench, cells)
            if sabotage.new_round:
                cells = [replace(cell, round=cell.round + 1) for cell in cells]
            with bench.suffering(sabotage.harm(bed, cells[-1].lane), restore=not sabotage.ends_bed):
                fired = _fired(bench, cells)
            yield Outcome(sabotage=sabotage, fired=fired, honest=honest)
    finally:
        bench.close()


def _cells(suite: Suite, sabotage: Sabotage, *, round_: int) -> list[Cell]:
    """The cells of the bout in which it is done: one, or one and its twin; the last one is harmed."""
    configuration = next(each for each in suite.configurations if each.key == sabotage.cell)
    standing = [configuration, replace(configuration, twin=True)][: sabotage.lanes]
    return [
        Cell(index=lane, round=round_, bout=0, lane=lane, configuration=each)
        for lane, each in enumerate(standing, start=1)
    ]


def _honest(bench: HarmedBench, cells: Sequence[Cell]) -> tuple[Fired, ...]:
    """What is said against the last cell when nothing is done to it, at its best of a few."""
    found: list[tuple[Fired, ...]] = []
    for _ in range(ATTEMPTS):
        found.append(_fired(bench, cells))
        if not found[-1]:
            break
    return min(found, key=len)


def _fired(bench: HarmedBench, cells: Sequence[Cell]) -> tuple[Fired, ...]:
    """What is said against the last cell of a bout."""
    cell = cells[-1]
    try:
        measured = bench.measure_cells(cells)[cell]
    except ControlError as exc:
        return (Fired(name=ENDED, reason=f"{exc}; {bench.bed.whose_end()}"),)
    return said_against(judge(bench.suite, bench.bed.topology, cell, measured))


def said_against(verdict: CellVerdict) -> tuple[Fired, ...]:
    """Checks that are not valid where they apply, and remarks."""
    bad = {CheckStatus.INVALID, CheckStatus.UNKNOWN}
    checks = [Fired(name=each.name, reason=each.reason) for each in verdict.checks if each.status in bad]
    if not checks and verdict.status is not CellStatus.VALID:
        checks = [Fired(name=verdict.status.value, reason="no check was valid")]
    remarks = [Fired(name=each.kind.value, reason=each.reason) for each in verdict.remarks]
    return (*checks, *remarks)
