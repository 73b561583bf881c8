"""A bench that lets a sabotage happen."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from harness.control import Reply
from harness.plan.model import Bout, Cell
from harness.run.asks import Ask, Way
from harness.run.bout import Bench, Measured
from harness.run.proofs import Documents
from harness.selftest.bed import AlteredBed
from harness.selftest.harm import Harm
from harness.suite.model import Suite


class HarmedBench(Bench):
    """Measures as `run` does, with a harm around the placing, the proofs and each stage of load."""

    bed: AlteredBed

    def __init__(self, bed: AlteredBed, suite: Suite, seed: int = 0) -> None:
        """Take the testbed, what to measure, and the plan's seed; nothing is harmed until `suffering`."""
        super().__init__(bed, suite, seed)
        self.harm = Harm(bed)

    @contextmanager
    def suffering(self, harm: Harm, *, restore: bool) -> Iterator[None]:
        """While the block runs, every stage meets `harm`; `restore` makes the rules whole again after it."""
        self.harm = harm
        try:
            yield
        finally:
            self.harm = Harm(self.bed)
        if restore:
            self.harm.write_rules_again()

    def measure_cells(self, cells: Sequence[Cell]) -> dict[Cell, Measured]:
        """Measure cells as a bout."""
        return self.measure(Bout(round=cells[0].round, number=cells[0].bout, cells=tuple(cells)))

    def _place(self, bout: Bout) -> None:
        with self.harm.placing():
            super()._place(bout)

    def _prove(self, ways: Sequence[Way]) -> dict[int, Documents]:
        """Prove everything again for each bout, as if it were its round's first, and let the harm be done."""
        self.proofs.forget()
        with self.harm.proving():
            return super()._prove(ways)

    def put(self, ask: Ask) -> Reply:
        """Ask a load process for one stage, and let the harm do what it does."""
        with self.harm.during(ask):
            reply = super().put(self.harm.asked(ask))
        return self.harm.replied(ask, reply)
