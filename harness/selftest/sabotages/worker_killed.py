"""The Locust process is killed in the middle of a stage (M28, F77)."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from harness.run.asks import Ask
from harness.selftest.harm import Harm, beside

FIRES = "run-failed"
BECAUSE = "locust ended with 137"
ENDS_BED = True


class Sabotage(Harm):
    """Its samples are gone: a cell made of what is left would count only what survived."""

    @contextmanager
    def during(self, ask: Ask) -> Iterator[None]:
        """In the middle of the closed loop."""
        if ask.stage != "requests":
            yield
            return
        with beside(lambda: self.bed.engine.kill("locust", signal.SIGKILL), after_s=0.05):
            yield
