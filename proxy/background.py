"""Computing in a thread beside the traffic without keeping the interpreter from it.

The loop's thread asks for the interpreter by waiting, each time that it comes back from the kernel; where
all processors are busy it is not even woken before the computing thread has used up its slice, 4 ms and
more. So that one rests by itself: `breathe()` stands in loops that may be long. It does nothing in
threads that are not `beside_traffic`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import local
from typing import TypeVar

T = TypeVar("T")

WORK_S = 0.0003
"""Of computing between two rests: a third of what a request takes through a proxy."""
REST_S = 0.0005
"""Longer than the work: meanwhile the loop's thread has to ask for the interpreter after each system call."""
REST_SHARE = 10
"""Where processors are short a rest is long; the work behind it is a tenth as long, or it would never end."""
STRIDE = 16
"""Values between two breaths; each may take some 10 us."""


class _Thread(local):
    rests_at: float | None = None


_thread = _Thread()


@contextmanager
def beside_traffic() -> Iterator[None]:
    """In the block this thread rests whenever it breathes and has worked for a while."""
    _thread.rests_at = time.monotonic() + WORK_S
    try:
        yield
    finally:
        _thread.rests_at = None


def breathe() -> None:
    """Rest, if it is time for it."""
    rests_at = _thread.rests_at
    if rests_at is None:
        return
    began = time.monotonic()
    if began >= rests_at:
        time.sleep(REST_S)
        ended = time.monotonic()
        _thread.rests_at = ended + max(WORK_S, (ended - began) / REST_SHARE)


def breathing(values: Iterable[T]) -> Iterator[T]:
    """The values, with a breath every few of them: to look at the clock costs more than to step over one."""
    for count, value in enumerate(values):
        if not count % STRIDE:
            breathe()
        yield value


_beside = ThreadPoolExecutor(max_workers=1, thread_name_prefix="beside")
"""One thread: texts that several ask for at once are made by turns, and never beside each other."""


async def beside(work: Callable[[], T]) -> T:
    """What `work` returns, called in a thread beside the traffic."""
    return await asyncio.get_running_loop().run_in_executor(_beside, _quietly, work)


def _quietly(work: Callable[[], T]) -> T:
    with beside_traffic():
        return work()
