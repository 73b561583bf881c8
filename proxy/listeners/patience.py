"""Whether the app still waits while we connect for it."""

from __future__ import annotations

import asyncio
import socket
from types import TracebackType
from typing import Final, Self

from proxy.listeners.verdict import AppLeft
from proxy.net import original_destination
from proxy.net.address import address
from proxy.net.ends import TCP_CLOSE, TCP_CLOSE_WAIT, closed_by_its_process, tcp_state
from proxy.routing import OUTBOUND_PORT

LOOK_S: Final = 0.2
"""How often an app is looked at. Connecting takes less as a rule, and then costs a timer that never fires."""


class while_app_waits:  # noqa: N801  a verb, as contextlib's own
    """Cancel the block, and raise AppLeft, when the app's connection is over before the block is.

    A reset is the end. A FIN may be half a close, after which the app reads on: it is the end only where
    nothing was sent before it and the app's process has closed the socket. Bytes that it left are carried
    even so, as TCP would.

    Looked at by a timer, not a reader: unread bytes would make a reader fire all the time and hide what is
    behind them.
    """

    __slots__ = ("_cancelling", "_netns_fd", "_sock", "_task", "_timer", "_why")

    def __init__(self, sock: socket.socket, netns_fd: int | None) -> None:
        self._sock = sock
        self._netns_fd = netns_fd
        self._why: str | None = None
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        """How often the task had been cancelled before, as in asyncio.Timeout."""
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._task = task = asyncio.current_task()
        self._cancelling = 0 if task is None else task.cancelling()
        self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        task, self._task = self._task, None
        if self._why is None or task is None:
            return
        if task.uncancel() <= self._cancelling and isinstance(exc, asyncio.CancelledError):
            raise AppLeft(f"app left before it was connected: {self._why}") from None

    def _look(self) -> None:
        self._why = self._left()
        if self._why is None:
            self._timer = asyncio.get_running_loop().call_later(LOOK_S, self._look)
        elif self._task is not None:
            self._task.cancel()

    def _left(self) -> str | None:
        try:
            state = tcp_state(self._sock)
            if state == TCP_CLOSE:
                return "reset"
            if state != TCP_CLOSE_WAIT or self._sock.recv(1, socket.MSG_PEEK):
                return None
            app = self._sock.getpeername()
            dialled = original_destination(self._sock, OUTBOUND_PORT)
        except OSError as exc:
            return exc.strerror or str(exc)
        closed = closed_by_its_process(self._netns_fd, (address(app[0]), int(app[1])), dialled)
        return "closed" if closed else None
