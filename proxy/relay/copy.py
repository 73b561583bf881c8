"""Socket to socket, for plaintext: one read, one write, nothing in between."""

from __future__ import annotations

import asyncio
import socket
from time import monotonic_ns

from proxy.relay.buffers import Buffers
from proxy.relay.endpoint import Endpoint
from proxy.relay.outcome import End, Outcome


class CopyRelay:
    """Carries bytes between two connected sockets, which it owns from here on.

    Back-pressure: a side is not read while the other has anything queued, so the queue never holds
    more than one read.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, near: socket.socket, far: socket.socket) -> None:
        self.sent = 0
        """Bytes from near to far."""
        self.received = 0
        """Bytes from far to near."""
        self.first_sent_ns: int | None = None
        self.first_received_ns: int | None = None
        self._near = Endpoint(loop, near, self)
        self._far = Endpoint(loop, far, self)
        self._buffer = Buffers.of(loop).socket
        self._over: asyncio.Future[Outcome] = loop.create_future()

    @property
    def queued(self) -> int:
        """Bytes that were read and not written yet."""
        return self._near.queued + self._far.queued

    async def run(self) -> Outcome:
        """Relay until it is over; cancelled, both sides are reset."""
        self._near.start()
        self._far.start()
        try:
            return await self._over
        finally:
            self._close(clean=False)

    def cut(self, reason: str) -> None:
        """End it now, by reset on both sides."""
        self._end(Outcome(End.CUT, reason))

    def on_readable(self, endpoint: Endpoint) -> None:
        """Pass a read on to the other side."""
        target = self._far if endpoint is self._near else self._near
        length = endpoint.receive(self._buffer)
        if length is None:
            return
        if not length:
            target.finish()
            return
        if endpoint is self._near:
            self.sent += length
            if self.first_sent_ns is None:
                self.first_sent_ns = monotonic_ns()
        else:
            self.received += length
            if self.first_received_ns is None:
                self.first_received_ns = monotonic_ns()
        target.send(self._buffer[:length])
        if target.queued:
            endpoint.pause()

    def on_gone(self, endpoint: Endpoint, _length: int) -> None:
        """Read the other side again once the queue is empty."""
        if not endpoint.queued and not endpoint.finishing:
            (self._far if endpoint is self._near else self._near).resume()

    def on_finished(self, _endpoint: Endpoint) -> None:
        """Over when both directions have ended."""
        if self._near.sent_end and self._far.sent_end:
            self._close(clean=True)
            self._end(Outcome(End.CLEAN))

    def on_failed(self, endpoint: Endpoint, error: OSError) -> None:
        """A reset on one side is a reset on the other."""
        end = End.NEAR_RESET if endpoint is self._near else End.FAR_RESET
        self._end(Outcome(end, error.strerror or str(error)))

    def on_crashed(self) -> None:
        """A bug of ours: both sides see a reset."""
        self._end(Outcome(End.CUT, "internal error"))

    def _end(self, outcome: Outcome) -> None:
        self._close(clean=False)
        if not self._over.done():
            self._over.set_result(outcome)

    def _close(self, *, clean: bool) -> None:
        self._near.close(clean=clean)
        self._far.close(clean=clean)
