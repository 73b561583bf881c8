"""A bench and a testbed that let a sabotage happen."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from harness.control import Reply
from harness.engines.api import Member, Role
from harness.plan.model import Cell
from harness.run.cell import Ask, Bench
from harness.selftest.harm import Harm
from harness.testbed.testbed import Testbed


class HarmedBench(Bench):
    """Measures as `run` does, with a harm around the round's proofs and each stage of load."""

    harm: Harm

    @contextmanager
    def suffering(self, harm: Harm, *, restore: bool) -> Iterator[None]:
        """While the block runs, every stage meets `harm`; `restore` makes the rules whole again after it."""
        self.harm = harm
        try:
            yield
        finally:
            self.harm = Harm(self.bed)
        if restore:
            self.bed.capture(self.bed.interception, self.bed.filler_rules)

    def proved(self, cell: Cell) -> dict[str, dict[str, Any]]:
        """Prove everything again for each cell, as if it were its round's first, and let the harm be done."""
        self.proofs.forget()
        with self.harm.proving():
            found = super().proved(cell)
        self._leave_nothing()
        return found

    def put(self, ask: Ask, client: str) -> Reply:
        """Ask a load process for one stage, and let the harm do what it does."""
        with self.harm.during(ask):
            reply = super().put(self.harm.asked(ask), client)
        return self.harm.replied(ask, reply)


@dataclass(slots=True, kw_only=True)
class AlteredBed(Testbed):
    """A testbed whose proxies are started by another module, one that spoils something in them."""

    alteration: tuple[str, ...] = ()
    """Arguments after `python3 -m`; empty: the proxy as it is."""

    def wanted_members(self) -> tuple[Member, ...]:
        """The members of any testbed, with the proxies' command replaced."""
        members = Testbed.wanted_members(self)
        if not self.alteration:
            return members
        command = ("python3", "-m", *self.alteration)
        return tuple(
            replace(member, command=command) if member.role is Role.ZTUNNEL else member for member in members
        )
