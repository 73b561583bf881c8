"""One CONNECT stream of a tunnel, between the tunnel's events and a relay."""

from __future__ import annotations

import asyncio
from time import monotonic_ns
from typing import TYPE_CHECKING, Final, Protocol

from h2.errors import ErrorCodes

from proxy.hbone.connection import Stream
from proxy.hbone.events import Header
from proxy.hbone.frames import HEAD_BYTES
from proxy.hbone.headers import response_headers
from proxy.hbone.limits import PREMATURE_S
from proxy.tunnel.errors import ConnectRefused, StreamLost

if TYPE_CHECKING:
    from proxy.tunnel.channel import Channel
    from proxy.tunnel.tunnel import Tunnel


OLD_ENOUGH_S: Final = 1.25 * PREMATURE_S
"""Age at which an unanswered request is taken back; a request may be under way longer than a reset."""


class Receiver(Protocol):
    """Who takes a stream's bytes: a relay."""

    def on_data(self, payload: memoryview | bytearray) -> None:
        """Bytes; give credit when they have gone."""

    def on_ended(self) -> None:
        """No more bytes."""

    def on_reset(self, code: int, reason: str) -> None:
        """The stream is lost."""

    def on_sendable(self) -> None:
        """`sendable`, after it said 0, would say more."""


class TunnelStream:
    """A stream. What comes before a relay is attached is kept: at most a stream's window."""

    __slots__ = (
        "_answer",
        "_channel",
        "_connection",
        "_early",
        "_ended",
        "_lost",
        "_status",
        "_taken_back",
        "asked_ns",
        "receiver",
        "state",
        "stream_id",
        "taken_ns",
        "tunnel",
    )

    def __init__(self, tunnel: Tunnel, channel: Channel, state: Stream) -> None:
        self.tunnel = tunnel
        self.state = state
        """The stream as the connection knows it."""
        self.stream_id = state.stream_id
        self.asked_ns = self.taken_ns = monotonic_ns()
        """When the CONNECT was about to leave, or had come; and when its tunnel was chosen from a pool."""
        self.receiver: Receiver | None = None
        self._channel = channel
        self._connection = tunnel.connection
        self._answer: asyncio.Future[None] | None = None
        self._status: int | None = None
        self._early = bytearray()
        self._ended = False
        self._taken_back = False
        """Nobody waits for the answer any more."""
        self._lost: tuple[str, int] | None = None
        """Why the stream is over without an end, and the code; an exception would keep its frames alive."""

    # The CONNECT.

    async def answered(self) -> None:
        """Client: wait for 200.

        Raises:
            ConnectRefused: Another status; the stream is over.
            StreamLost: Reset, or the tunnel with it; or no answer came in time, and we reset it.
        """
        if self._status is None and self._lost is None:
            loop = self.tunnel.loop
            self._answer = loop.create_future()
            limit = loop.call_later(self.tunnel.timing.answer_s, self._unanswered)
            try:
                await self._answer
            except asyncio.CancelledError:
                self._take_back()
                raise
            finally:
                limit.cancel()
        if self._status is None:
            raise StreamLost(*(self._lost or ("tunnel closed", ErrorCodes.CANCEL)))
        if self._status != 200:
            self.reset(ErrorCodes.CANCEL)
            raise ConnectRefused(self._status)

    def accept(self, *, baggage: str | None = None) -> None:
        """Server: answer 200.

        Raises:
            StreamLost: The peer has given up meanwhile.
        """
        if self._lost is not None:
            raise StreamLost(*self._lost)
        self.tunnel.answer(self, response_headers(200, baggage=baggage))

    def refuse(self, status: int) -> None:
        """Server: answer another status and be done; what came early is given back."""
        self.tunnel.refuse(self, response_headers(status))

    @property
    def lost(self) -> bool:
        """Whether the stream was reset."""
        return self._lost is not None

    # For a relay.

    def attach(self, receiver: Receiver) -> None:
        """Deliver to `receiver` from here on, beginning with what came early."""
        self.receiver = receiver
        if self._early:
            early, self._early = self._early, bytearray()
            receiver.on_data(memoryview(early))
        if self._lost is not None:
            reason, code = self._lost
            receiver.on_reset(code, reason)
        elif self._ended:
            receiver.on_ended()

    def detach(self) -> None:
        """Deliver no more: the stream is over, and its receiver need not outlive it."""
        self.receiver = None

    def sendable(self) -> int:
        """Payload bytes that the next frame may have; after a 0, `on_sendable` will come."""
        if not self._channel.congested:
            room = self._connection.sendable(self.state)
            if room:
                return room
        self.tunnel.wait_for_room(self)
        return 0

    def send(self, frame: memoryview, length: int, *, last: bool = False) -> None:
        """Send `length` payload bytes, which lie behind 9 free ones in `frame`.

        `last`: more are not at hand. With no other stream to share the system call, they leave now.
        """
        connection = self._connection
        connection.pack(self.state, frame, length)
        if connection.has_output:
            self._channel.write(connection.output())
        self._channel.write(frame[: HEAD_BYTES + length], now=last and connection.live == 1)

    def credit(self, length: int) -> None:
        """Bytes have gone."""
        connection = self._connection
        connection.credit(self.state, length)
        if connection.has_output:
            self._channel.write(connection.output())

    def held(self) -> None:
        """Bytes were received that the app does not take now."""
        connection = self._connection
        connection.advance()
        if connection.has_output:
            self._channel.write(connection.output())

    def end(self) -> None:
        """END_STREAM: no more bytes from us."""
        self.tunnel.end(self)

    def reset(self, code: int) -> None:
        """Give up both directions; nothing happens when the stream is over."""
        self.tunnel.reset(self, code)

    # From the tunnel.

    def on_answered(self, status: int, _headers: list[Header]) -> None:
        """The peer answered our CONNECT."""
        self._status = status
        if self._taken_back:
            self.reset(ErrorCodes.CANCEL)
        self._wake()

    def on_early(self, payload: memoryview | bytearray) -> None:
        """Bytes came, and nobody is attached yet."""
        self._early += payload
        self._connection.advance()

    def on_ended(self) -> None:
        """The peer's END_STREAM came."""
        self._ended = True
        if self.receiver is not None:
            self.receiver.on_ended()

    def on_lost(self, code: int, reason: str) -> None:
        """The stream is over without an end."""
        self._lost = reason, code
        self._early.clear()
        self._wake()
        if self.receiver is not None:
            self.receiver.on_reset(code, reason)

    def on_sendable(self) -> None:
        """There is room again."""
        if self.receiver is not None:
            self.receiver.on_sendable()

    def _take_back(self) -> None:
        """Give an unanswered request up: at its answer, or when it is old enough.

        Servers count requests that are taken back sooner as a flood, and end the tunnel for all its streams.
        """
        self._taken_back = True
        age_s = (monotonic_ns() - self.asked_ns) / 1e9
        self.tunnel.loop.call_later(max(0.0, OLD_ENOUGH_S - age_s), self.reset, ErrorCodes.CANCEL)

    def _unanswered(self) -> None:
        self.reset(ErrorCodes.CANCEL)
        self.on_lost(ErrorCodes.CANCEL, f"no answer to CONNECT in {self.tunnel.timing.answer_s:g} s")
        self.tunnel.retire()  # the next CONNECT would fare no better: its peer may be gone

    def _wake(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(None)
