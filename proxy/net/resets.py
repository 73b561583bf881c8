"""Resets of sockets that are not read just now, or that the event loop has given up watching.

A loop tells of a reset only whoever reads, and uvloop only once: on POLLERR it runs the reader and then
watches that socket no more (uvloop/handles/poll.pyx), so that a reader that takes the last bytes first never
hears of the reset behind them. One epoll per loop has all sockets of relays and tunnels. It asks for no
event: errors are reported all the same (epoll_ctl(2)), once each, and data wakes nobody.

Only Linux has it, and only there uvloop behaves so: elsewhere a reset is noticed by whoever reads next.
"""

from __future__ import annotations

import asyncio
import select
import sys
from collections.abc import Callable
from weakref import WeakKeyDictionary


class ResetWatch:
    """The watch of one loop; `ResetWatch.of(loop)` finds it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._tell: dict[int, Callable[[], None]] = {}
        if sys.platform == "linux":
            self._epoll = select.epoll()
            loop.add_reader(self._epoll.fileno(), self._on_ready)

    @staticmethod
    def of(loop: asyncio.AbstractEventLoop) -> ResetWatch:
        """The loop's watch, made on first use."""
        watch = _of_loop.get(loop)
        if watch is None:
            watch = _of_loop[loop] = ResetWatch(loop)
        return watch

    def __len__(self) -> int:
        """Sockets that are watched."""
        return len(self._tell)

    def add(self, fd: int, tell: Callable[[], None]) -> None:
        """Call `tell` when the socket has failed; again for a socket that had failed before this call.

        It still has to be read for what came before, and for the error itself.
        """
        if sys.platform == "linux":
            try:
                self._epoll.register(fd, select.EPOLLET)
            except FileExistsError:
                self._epoll.modify(fd, select.EPOLLET)  # which looks at its state anew
            self._tell[fd] = tell

    def discard(self, fd: int) -> None:
        """Watch it no more; before it is closed, as its number may be another's then."""
        if self._tell.pop(fd, None) is not None and sys.platform == "linux":
            self._epoll.unregister(fd)

    def _on_ready(self) -> None:
        if sys.platform == "linux":
            for fd, events in self._epoll.poll(0):
                tell = self._tell.get(fd)  # none where a socket was closed by the one before
                if tell is not None and events & select.EPOLLERR:
                    tell()


_of_loop: WeakKeyDictionary[asyncio.AbstractEventLoop, ResetWatch] = WeakKeyDictionary()
