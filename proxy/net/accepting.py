"""Taking the connections that arrive at a listener: one loop for the pods' ports and for the proxy's own."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable
from typing import Any

log = logging.getLogger("proxy.net")

ACCEPTS_PER_TURN = 64
"""Connections that one ready listener may hand on before other sockets have their turn."""
PAUSE_S = 0.1
"""How long a listener rests after accept failed for want of descriptors or memory: they would not be
there at once either, and asking again and again would take the loop from those that live."""

_OF_THE_CONNECTION = frozenset(
    getattr(errno, name)
    for name in (
        *("ECONNABORTED", "ENETDOWN", "EPROTO", "ENOPROTOOPT", "EHOSTDOWN"),
        *("ENONET", "EHOSTUNREACH", "EOPNOTSUPP", "ENETUNREACH", "EPERM"),
    )
    if hasattr(errno, name)
)
"""One connection is lost, its listener is well. Source: accept(2), "Error handling"; EPERM by a firewall."""

Taken = Callable[[socket.socket, Any], None]
"""Receives and owns a connection, non-blocking, with its peer's address as `accept` gives it."""


class Accepting:
    """Hands on the connections of a listener, from now on. The listener stays its owner's to close."""

    def __init__(self, listener: socket.socket, taken: Taken, *, name: str) -> None:
        """Begin.

        Args:
            listener: Non-blocking, listening.
            taken: Called for each connection, in the order of arrival.
            name: Of the listener, for the log.
        """
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._taken = taken
        self._name = name
        self._resting: asyncio.TimerHandle | None = None
        self._watching = False
        self._closed = False
        self.resume()

    def close(self) -> None:
        """Take none any more."""
        self._closed = True
        self.pause()
        del self._taken  # which refers to the owner, and that one to this

    def pause(self) -> None:
        """Take none until `resume`: they wait in the listener's backlog."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
        if self._watching:
            self._watching = False
            self._loop.remove_reader(self._listener.fileno())

    def resume(self) -> None:
        """Go on after `pause`; nothing after `close`."""
        if not (self._watching or self._closed):
            self._resting = None
            self._watching = True
            self._loop.add_reader(self._listener.fileno(), self._ready)

    def _ready(self) -> None:
        """Take one, and let it begin before the listener is asked whether there are more."""
        if self._take():
            self._loop.call_soon(self._take_rest)

    def _take_rest(self) -> None:
        for _ in range(ACCEPTS_PER_TURN - 1):
            if not self._take():
                return

    def _take(self) -> bool:
        """Whether there may be more."""
        if not self._watching:
            return False
        try:
            sock, peer = self._listener.accept()
        except (BlockingIOError, InterruptedError):
            return False
        except OSError as exc:
            if exc.errno in _OF_THE_CONNECTION:
                return True
            self._rest(exc)
            return False
        sock.setblocking(False)
        self._taken(sock, peer)
        return True

    def _rest(self, error: OSError) -> None:
        log.warning("accept failed listener=%s pause_s=%g error=%s", self._name, PAUSE_S, error.strerror)
        self.pause()
        self._resting = self._loop.call_later(PAUSE_S, self.resume)
