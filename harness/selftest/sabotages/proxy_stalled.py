"""The destination's proxy stands still for 50 ms (M17, F17)."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness.run.asks import Ask
from harness.selftest.harm import SERVER, Harm, beside

FIRES = "paused"
BECAUSE = "an answer took"
STALL_S = 0.05


class Sabotage(Harm):
    """As a pause of the garbage collector or a blocking call would."""

    stall_s = STALL_S

    @contextmanager
    def during(self, ask: Ask) -> Iterator[None]:
        """In the middle of the closed loop."""
        if ask.stage != "requests":
            yield
            return
        with beside(self._stall, after_s=0.05):
            yield

    def _stall(self) -> None:
        proxy = f"ztunnel-{self.lane.number}-{self.pod(SERVER).node}"
        self.bed.engine.kill(proxy, signal.SIGSTOP)
        time.sleep(self.stall_s)
        self.bed.engine.kill(proxy, signal.SIGCONT)
