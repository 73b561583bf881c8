"""A pod's listening sockets: from each connection a task, within the limits on connections."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Awaitable, Callable

from proxy.admission import Admission
from proxy.config import Settings
from proxy.listeners.dial import tune
from proxy.net import options
from proxy.net.accepting import Accepting
from proxy.net.address import address
from proxy.state.model import SocketAddress
from proxy.tasks import Tasks

log = logging.getLogger("proxy.listeners")

COMPLAINT_S = 1.0
"""How often a listener says that it turned connections away."""

INHERITED = sys.platform == "linux"
"""Whether accepted sockets have their listener's options (Linux copies the whole socket: sk_clone_lock)."""

Handler = Callable[[socket.socket, SocketAddress], Awaitable[None]]


class Acceptor:
    """Accepts on one listener. Owns it."""

    def __init__(
        self,
        listener: socket.socket,
        handler: Handler,
        tasks: Tasks,
        settings: Settings,
        *,
        name: str,
        admission: Admission,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._listener = listener
        self._handler = handler
        self._tasks = tasks
        self._settings = settings
        self._name = name
        self._admission = admission
        self._refused = 0
        """Turned away since the last line about it."""
        self._complaining: asyncio.TimerHandle | None = None
        if INHERITED:
            self._prepare(listener)
        self._accepting = Accepting(listener, self._start, name=name)

    def close(self) -> None:
        """Accept no more."""
        if self._listener.fileno() < 0:
            return
        self._accepting.close()
        if self._complaining is not None:
            self._complaining.cancel()
        self._listener.close()

    def _prepare(self, sock: socket.socket) -> None:
        # The app sees a reset if this process dies, until it was served to the end.
        options.reset_on_close(sock, on=True)
        tune(sock, self._settings)

    def _start(self, sock: socket.socket, peername: tuple[str, int]) -> None:
        if not INHERITED:
            try:
                self._prepare(sock)
            except OSError:
                sock.close()  # reset by the peer already
                return
        host, port = peername[:2]
        peer = address(host), port
        forbidden = self._admission.take(peer[0])
        if forbidden is not None:
            sock.close()
            self._refuse(forbidden)
            return
        self._tasks.start(self._serve(sock, peer), name=f"{self._name} {host}:{port}")

    async def _serve(self, sock: socket.socket, peer: SocketAddress) -> None:
        try:
            # A relay that took the socket over has closed it, and closing twice does nothing.
            with sock:
                await self._handler(sock, peer)
        finally:
            self._admission.release(peer[0])

    def _refuse(self, forbidden: str) -> None:
        """Say so, but not for each: the log is no way to fill a disk either."""
        self._admission.refused += 1
        self._refused += 1
        if self._complaining is None:
            self._complaining = self._loop.call_later(COMPLAINT_S, self._complain, forbidden)

    def _complain(self, forbidden: str) -> None:
        log.warning("connections refused listener=%s count=%d over=%r", self._name, self._refused, forbidden)
        self._refused, self._complaining = 0, None
