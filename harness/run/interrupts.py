"""Ctrl-C and its relatives: the first asks for an orderly end, the next ones hasten it.

The first SIGINT, SIGTERM or SIGHUP raises `Interrupted` in the main thread: the cell in progress
is given up, what was measured is kept, the testbed is taken down. A later one raises nothing, so
that taking down is never left half-way; it only sets `hastened`, and waits look at that.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A person or the system asked the run to end."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number

    @property
    def exit_code(self) -> int:
        """128 + the signal's number: 130 for Ctrl-C."""
        return 128 + self.number


@dataclass(slots=True)
class Interrupts:
    """What has been asked for so far."""

    first: int = 0
    """The first signal's number; 0 when there was none."""
    hastened: bool = False

    def handle(self, number: int, _frame: FrameType | None) -> None:
        """Raise on the first signal, remember the later ones."""
        if self.first:
            self.hastened = True
            return
        self.first = number
        raise Interrupted(number)


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Watch for the signals inside the block; put the former handlers back after it."""
    state = Interrupts()
    former = {number: signal.signal(number, state.handle) for number in SIGNALS}
    try:
        yield state
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
