"""Do every sabotage to a real cell and see which check finds it.

Each one is measured right after an honest cell of the same configuration on the same testbed: that one has
to be valid, or what the sabotaged one shows proves nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from harness.control import ControlError
from harness.engines.choice import Choice
from harness.evidence.model import CellStatus, CellVerdict, CheckStatus
from harness.plan.model import Cell
from harness.plan.order import plan
from harness.run.story import judge
from harness.selftest.bench import AlteredBed, HarmedBench
from harness.selftest.harm import Harm
from harness.selftest.sabotages import Sabotage
from harness.suite.model import Suite
from harness.suite.resolve import load_suite
from harness.topology.allocator import resolve

ATTEMPTS = 6
"""Of an honest cell, which another tenant of the machine may disturb."""
LOAD = ("load.rate.seconds=0.3", "load.requests.seconds=0.3")
"""Long enough for a stall to fall into a stage."""
ENDED = "run-failed"
"""What fires when the cell does not come to its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """One thing that the evidence says against a cell."""

    name: str
    """A check that is invalid or unknown, `noisy`, `limited`, or `run-failed`."""
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
        return all(each.name in {"noisy", "limited"} for each in self.honest)

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
    suite = load_suite("smoke", [*LOAD])
    outcomes: list[Outcome] = []
    ordered = sorted(sabotages, key=lambda each: (each.alteration, each.ends_bed, each.name))
    for alteration, group in groupby(ordered, key=lambda each: each.alteration):
        bed = AlteredBed(
            choice=choice,
            topology=resolve(suite.topology),
            dataplane="pyztunnel",
            interception=suite.default.interception,
            suite=suite.name,
            alteration=alteration,
            told=told,
        )
        with bed:
            for outcome in _on(bed, suite, list(group)):
                told(f"{outcome.sabotage.name}: {'caught' if outcome.caught else 'NOT CAUGHT'}")
                outcomes.append(outcome)
    return outcomes


def _on(bed: AlteredBed, suite: Suite, sabotages: Sequence[Sabotage]) -> Iterator[Outcome]:
    cells = {cell.configuration.key: cell for cell in plan(suite, seed=1).cells}
    bench = HarmedBench(bed, suite)
    bench.harm = Harm(bed)
    try:
        for sabotage in sabotages:
            cell = cells[sabotage.cell]
            honest = () if sabotage.alteration else _honest(bench, cell)
            with bench.suffering(sabotage.harm(bed), restore=not sabotage.ends_bed):
                fired = _fired(bench, cell)
            yield Outcome(sabotage=sabotage, fired=fired, honest=honest)
    finally:
        bench.close()


def _honest(bench: HarmedBench, cell: Cell) -> tuple[Fired, ...]:
    """What is said against the cell when nothing is done to it, at its best of a few."""
    found: list[tuple[Fired, ...]] = []
    for _ in range(ATTEMPTS):
        found.append(_fired(bench, cell))
        if not found[-1]:
            break
    return min(found, key=len)


def _fired(bench: HarmedBench, cell: Cell) -> tuple[Fired, ...]:
    try:
        measured = bench.measure(cell)
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
