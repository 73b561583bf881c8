"""Starts that are under way: removing a run waits for them, and lets no further one begin.

An interrupt may leave a thread behind that nobody waits for (one that arrives while `Thread.start`
returns is enough: the pool has not noted the thread yet). What it starts would come after the removal.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from harness.engines.api import EngineError, Run


class Starts:
    """Those of one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._changed = threading.Condition()
        self._under_way = 0
        self._ended = False

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold the run's removal back until the block is done.

        Raises:
            EngineError: The run has been removed, or is just being removed.
        """
        with self._changed:
            if self._ended:
                raise EngineError(f"run {self._run.id} is removed: nothing more is started in it")
            self._under_way += 1
        try:
            yield
        finally:
            with self._changed:
                self._under_way -= 1
                self._changed.notify_all()

    def end(self) -> None:
        """Refuse all further ones, and wait for those under way."""
        with self._changed:
            self._ended = True
            self._changed.wait_for(lambda: not self._under_way)
