"""Ctrl-C and its relatives: the first asks for an orderly end, the next ones hasten it.

The first SIGINT, SIGTERM or SIGHUP raises `Interrupted` in the main thread: the cell in progress
is given up, what was measured is kept, the testbed is taken down. A later one raises nothing; it
only sets `hastened`, and waits look at that. Neither does the first one inside a function that is
marked `uninterrupted`: it is raised when that function has ended.

Blocking the signals would not do: a thread of a library that has them unmasked receives them, and
Python runs the handler in the main thread all the same. Nor would a flag that the function sets: a
signal may arrive between the call and the flag. So the handler looks at the call stack (as Trio's
KeyboardInterrupt protection does).
"""

from __future__ import annotations

import functools
import inspect
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import ParamSpec, TypeVar

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

P = ParamSpec("P")
R = TypeVar("R")


class Interrupted(BaseException):
    """A person or the system asked the command to end."""

    def __init__(self, number: int, error: BaseException | None = None) -> None:
        """Take the signal's number, and what went wrong while it was held back."""
        said = "" if error is None else f"; before that: {error}"
        super().__init__(f"interrupted by {signal.Signals(number).name}{said}")
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
    held: bool = False
    """Whether the first one is still to be raised, by the `uninterrupted` function in progress."""

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Raise on the first signal unless it has to wait, remember the later ones."""
        if self.first:
            self.hastened = True
            return
        self.first = number
        if _is_uninterrupted(frame):
            self.held = True
            return
        raise Interrupted(number)

    def release(self, error: BaseException | None = None) -> None:
        """Raise the signal that was held back, if there is one; it does not hide the error."""
        if self.held:
            self.held = False
            raise Interrupted(self.first, error) from error


_watching: list[Interrupts] = []
"""Those whose handlers are in place, the current one last: handlers are the process's."""
_MARKED: set[CodeType] = set()
"""The code of `uninterrupted`'s wrapper."""


@contextmanager
def interrupts() -> Iterator[Interrupts]:
    """Watch for the signals inside the block; put the former handlers back after it.

    A signal that the process ignores stays ignored: so does `nohup` keep a run alive.
    """
    state = Interrupts()
    watched = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    former = {number: signal.signal(number, state.handle) for number in watched}
    _watching.append(state)
    try:
        yield state
    finally:
        _watching.remove(state)
        for number, handler in former.items():
            signal.signal(number, handler)


def uninterrupted(function: Callable[P, R]) -> Callable[P, R]:
    """Let a function of the main thread end before a signal is raised; it begins with its call.

    Holds inside `interrupts()`; elsewhere the signals do what they do.
    """

    def whole(*args: P.args, **kwargs: P.kwargs) -> R:
        ended = False
        try:
            result = function(*args, **kwargs)
        except BaseException as exc:
            ended = True
            _release(exc)
            raise
        ended = True  # noqa: F841  # read by the signal handler, from this frame
        _release()
        return result

    _MARKED.add(whole.__code__)
    return functools.wraps(function)(whole)


def _release(error: BaseException | None = None) -> None:
    if _watching and not _is_uninterrupted(inspect.currentframe()):
        _watching[-1].release(error)


def _is_uninterrupted(frame: FrameType | None) -> bool:
    """Whether one of the calls that led to a frame is of an `uninterrupted` function that has not ended."""
    while frame is not None:
        if frame.f_code in _MARKED and not frame.f_locals.get("ended", False):
            return True
        frame = frame.f_back
    return False
