"""The load generator stands still for 200 ms while it should keep a rate (M14, M01)."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

from harness.run.asks import Ask
from harness.selftest.harm import Harm, beside

FIRES = "generator"
BECAUSE = "rate lag p99"
STALL_S = 0.2


class Sabotage(Harm):
    """Stopped and continued by signals, as a starved process is by the scheduler."""

    @contextmanager
    def during(self, ask: Ask) -> Iterator[None]:
        """In the middle of the fixed rate."""
        if ask.stage != "rate":
            yield
            return
        with beside(self._starve, after_s=0.05):
            yield

    def _starve(self) -> None:
        self.bed.engine.kill("locust", signal.SIGSTOP)
        time.sleep(STALL_S)
        self.bed.engine.kill("locust", signal.SIGCONT)
