"""The twin's pods get the rules of another lane's configuration behind the plan's back (M08)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.plan.model import Interception
from harness.selftest.harm import Harm

FIRES = "interception"
BECAUSE = "redirect-outbound"
LANES = 2


class Sabotage(Harm):
    """As a switch that goes to the wrong lane would; traffic is captured all the same."""

    @contextmanager
    def proving(self) -> Iterator[None]:
        """After the proofs, before the first counters are read."""
        yield
        self.lane.capture(Interception.TPROXY)
