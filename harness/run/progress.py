"""What the user sees while a run goes on: one live line on a terminal, plain lines elsewhere.

All of it goes to standard error, so that standard output stays the result's.
"""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from harness.plan.model import Bout

PLAIN_EVERY_S = 15.0
"""Seconds between two plain lines about bouts: enough to see life, little enough for a CI log."""


class Display(Protocol):
    """Told of steps and bouts as they come."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def step(self, text: str) -> None:
        """A slow step outside the bouts begins, or something worth a line has happened."""

    def bout(self, bout: Bout, *, done: int, total: int, left_s: float) -> None:
        """A bout begins; `done` of `total` are behind it, `left_s` seconds are still to come."""


class Live:
    """A progress bar with the current bout and the time left."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}"),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("starting", total=None, left="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, text: str) -> None:
        """Print the step above the bar."""
        self._progress.console.print(text, highlight=False)

    def bout(self, bout: Bout, *, done: int, total: int, left_s: float) -> None:
        """Move the bar."""
        self._progress.update(
            self._task,
            description=f"{bout.name}, {len(bout.cells)} lanes",
            completed=done,
            total=total,
            left=f"{_clock(left_s)} left",
        )


class Plain:
    """Lines for logs: every step, and now and then a bout."""

    def __init__(self) -> None:
        self._last = float("-inf")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def step(self, text: str) -> None:
        """Print the step."""
        print(text, file=sys.stderr, flush=True)  # noqa: T201  this is the display

    def bout(self, bout: Bout, *, done: int, total: int, left_s: float) -> None:
        """Print the first bout and then one line per `PLAIN_EVERY_S`."""
        now = time.monotonic()
        if now - self._last < PLAIN_EVERY_S:
            return
        self._last = now
        self.step(f"bout {done + 1}/{total}: {bout.name}, {len(bout.cells)} lanes, {_clock(left_s)} left")


def display() -> Display:
    """The display that fits standard error."""
    return Live() if sys.stderr.isatty() else Plain()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes}:{rest:02d}"
