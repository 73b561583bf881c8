"""Socket to a tunnel's stream."""

from __future__ import annotations

import asyncio
import socket
from time import monotonic_ns

from h2.errors import ErrorCodes

from proxy.hbone.errors import code_name
from proxy.relay.buffers import Buffers
from proxy.relay.endpoint import Endpoint
from proxy.relay.outcome import End, Outcome
from proxy.tunnel.stream import TunnelStream

_READS_PER_TURN = 4
"""Frames that one ready socket may fill before the others have their turn: 256 KiB, as for a copy."""


class StreamRelay:
    """Carries bytes between a connected socket, which it owns from here on, and an accepted stream.

    Towards the stream: the app is read only as far as the windows and the tunnel's output let it.
    Towards the app: what its socket refuses is queued, at most a stream's window, and the peer gets
    its credit when bytes have left.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        app: socket.socket,
        stream: TunnelStream,
        *,
        reset_code: ErrorCodes,
        app_waits: bool,
    ) -> None:
        """Prepare.

        Args:
            reset_code: What the peer is told when the app's socket resets: CANCEL where the app is the one
                that asked for the tunnel, CONNECT_ERROR where it is the one asked for.
            app_waits: Whether the app's first bytes have likely come by now.
        """
        self.uploaded = 0
        """Bytes from the app to the stream."""
        self.downloaded = 0
        """Bytes from the stream to the app."""
        self.first_uploaded_ns: int | None = None
        self.first_downloaded_ns: int | None = None
        self._app = Endpoint(loop, app, self)
        self._stream = stream
        self._reset_code = reset_code
        self._app_waits = app_waits
        self._started = False
        self._ended = False
        buffers = Buffers.of(loop)
        self._frame, self._payload = buffers.frame, buffers.payload
        self._over: asyncio.Future[Outcome] = loop.create_future()

    def start(self) -> None:
        """Begin: what has come from either side is passed on now."""
        self._started = True
        self._stream.attach(self)
        if self._app_waits and not self._ended:
            self.on_readable(self._app)  # before the loop is asked to watch it, which takes longer
        self._app.start()

    async def run(self) -> Outcome:
        """Relay until it is over; cancelled, both sides are reset."""
        if not self._started:
            self.start()
        try:
            return await self._over
        finally:
            self._app.close(clean=False)
            self._stream.reset(ErrorCodes.CANCEL)
            self._stream.detach()

    def cut(self, reason: str) -> None:
        """End it now, by reset on both sides."""
        self._stream.reset(ErrorCodes.CANCEL)
        self._end(Outcome(End.CUT, reason))

    # From the app.

    def on_readable(self, endpoint: Endpoint) -> None:
        """Fill frames from the socket while it has bytes and the stream has room."""
        for _ in range(_READS_PER_TURN):
            room = self._stream.sendable()
            if not room:
                endpoint.pause()  # on_sendable comes when there is room
                return
            length = endpoint.receive(self._payload[:room])
            if length is None:
                return
            if not length:
                self._stream.end()
                self._finish_if_over()
                return
            self.uploaded += length
            if self.first_uploaded_ns is None:
                self.first_uploaded_ns = monotonic_ns()
            empty = length < room
            self._stream.send(self._frame, length, last=empty)
            if empty:
                return  # asking the socket again would cost a system call

    def on_sendable(self) -> None:
        """There is room again."""
        if not self._ended:
            self._app.resume()

    # To the app.

    def on_data(self, payload: memoryview | bytearray) -> None:
        """Pass bytes on; give credit for what left."""
        if self._ended:
            return
        self.downloaded += len(payload)
        if self.first_downloaded_ns is None:
            self.first_downloaded_ns = monotonic_ns()
        sent = self._app.send(payload)
        if sent:
            self._stream.credit(sent)
        if sent < len(payload):
            self._stream.held()

    def on_gone(self, _endpoint: Endpoint, length: int) -> None:
        """Give credit for what has left by now."""
        self._stream.credit(length)

    def on_ended(self) -> None:
        """The peer's END_STREAM becomes FIN, behind what is queued."""
        if not self._ended:
            self._app.finish()

    def on_finished(self, _endpoint: Endpoint) -> None:
        """FIN is on its way."""
        self._finish_if_over()

    # Ends.

    def on_reset(self, code: int, reason: str) -> None:
        """The stream is lost: the app sees a reset."""
        self._end(Outcome(End.FAR_RESET, f"stream reset with {code_name(code)}: {reason}"))

    def on_failed(self, _endpoint: Endpoint, error: OSError) -> None:
        """The app reset, or cannot be reached any more: the peer is told."""
        self._stream.reset(self._reset_code)
        self._end(Outcome(End.NEAR_RESET, error.strerror or str(error)))

    def on_crashed(self) -> None:
        """A bug of ours: both sides see a reset."""
        self._end(Outcome(End.CUT, "internal error"))

    def _finish_if_over(self) -> None:
        if self._app.sent_end and self._app.received_end:
            self._app.close(clean=True)
            self._end(Outcome(End.CLEAN))

    def _end(self, outcome: Outcome) -> None:
        self._ended = True
        self._app.close(clean=False)
        if not self._over.done():
            self._over.set_result(outcome)
