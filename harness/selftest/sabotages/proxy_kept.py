"""A lane's proxies are those of the round before (issue 18: a process has an effect for life)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.selftest.bed import AlteredBed
from harness.selftest.harm import Harm, HarmFailed

FIRES = "started-anew"
BECAUSE = "start in ns"
NEW_ROUND = True


class Sabotage(Harm):
    """As a placement that forgets a lane would."""

    @contextmanager
    def placing(self) -> Iterator[None]:
        """The testbed writes the lane's rules and starts nothing."""
        if not isinstance(self.bed, AlteredBed):
            raise HarmFailed("sabotage: this testbed cannot leave a lane's proxies as they are")
        self.bed.kept = frozenset({self.lane.number})
        try:
            yield
        finally:
            self.bed.kept = frozenset()
