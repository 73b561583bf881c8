"""What both sides of a tunnel share: a TLS channel, an HBONE connection on it, and its streams."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic_ns

from h2.errors import ErrorCodes

from proxy.hbone.connection import Connection, Side
from proxy.hbone.errors import RemoteProtocolError, code_name
from proxy.hbone.events import (
    Answered,
    Data,
    Drained,
    Draining,
    Ended,
    Header,
    Pong,
    Requested,
    Reset,
    SettingsReceived,
    WindowOpened,
)
from proxy.hbone.events import Event as PeerEvent
from proxy.hbone.keepalive import Action, Keepalive
from proxy.hbone.life import ENDED, Event, State
from proxy.hbone.limits import Limits
from proxy.hbone.receiver import NOTHING
from proxy.hbone.splitter import EVERY
from proxy.identity.spiffe import SpiffeId
from proxy.tunnel.channel import Channel, Stage
from proxy.tunnel.deadlines import Deadlines
from proxy.tunnel.stream import TunnelStream

log = logging.getLogger("proxy.tunnel")
_CRASHED = "tunnel failed unexpectedly peer=%s tunnel=%r"

CLOSE_S = 1.0
"""How long a closed tunnel waits for the peer to close as well once all its bytes are delivered; and how
often it looks whether they are."""
FRAMES_PER_TURN = 128
"""Frames of one read that are handled before others have their turn. A one-byte frame costs 2 us, so that is
a quarter of a millisecond; of frames of 16 KiB a read has 16. As Envoy's http.max_requests_per_io_cycle."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """A tunnel's time limits, seconds."""

    handshake_s: float = 5.0
    """TLS, and each stage of `Deadlines`."""
    answer_s: float = 15.0
    """From our CONNECT to its answer."""
    linger_s: float = 5.0
    """How long a closing tunnel waits while none of its last bytes moves. Longer than the retransmissions of
    TCP that a short outage costs; ztunnel's drain deadline."""
    ping_interval_s: float = 10.0
    ping_timeout_s: float = 20.0


class Tunnel:
    """One side of a tunnel, after its TLS handshake. `on_closed` is called once, when it is over.

    Where it is in its life is `connection.life`, whose table says what may follow what.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        channel: Channel,
        *,
        side: Side,
        limits: Limits,
        timing: Timing,
        peer: SpiffeId,
    ) -> None:
        self.loop = loop
        self.timing = timing
        self.peer = peer
        """Whom the peer's certificate proved it to be."""
        self.shaken_ns = monotonic_ns()
        """When the TLS handshake was over."""
        self.settings_ns: int | None = None
        """When the peer's SETTINGS came."""
        self.connection = Connection(side, limits)
        self.close_reason: str | None = None
        """Why the tunnel is over, once it is; None for an ordinary end."""
        self.fault: str | None = None
        """What the peer did, or failed to do, that ended the tunnel; None where nothing was its fault."""
        self.on_closed: Callable[[], None] = _nothing
        self.on_change: Callable[[], None] = _nothing
        """Something changed that decides whether streams can be opened."""
        self._channel = channel
        self._streams: dict[int, TunnelStream] = {}
        self._blocked: dict[int, TunnelStream] = {}
        """Streams that were told to wait, in the order in which they asked."""
        now = loop.time()
        self._keepalive = Keepalive(now, timing.ping_interval_s, timing.ping_timeout_s)
        self._deadlines = Deadlines(self.connection, now, timing.handshake_s)
        self._timer: asyncio.TimerHandle | None = None
        self._backlog = NOTHING
        """What of a read is left for the next turns; the channel is not read meanwhile."""
        self._farewell: str | None = None
        """What the peer's GOAWAY said, where it said more than that it was time to go."""

    def __repr__(self) -> str:
        return f"<tunnel to {self.peer}: {self.connection!r}>"

    def start(self) -> None:
        """Begin: our opening is written (what was put behind it leaves with it), theirs is awaited.

        When the peer has gone meanwhile, the tunnel is over.
        """
        self._arm()
        self._channel.start(self, self.connection.output())

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self.connection.life.state

    @property
    def over(self) -> bool:
        """Whether the connection is gone."""
        return self.state is State.OVER

    @property
    def ready(self) -> bool:
        """Whether the peer's SETTINGS came: it accepted our certificate and said how many streams."""
        return self.connection.peer.received

    @property
    def usable(self) -> bool:
        """Whether streams may be opened, now or when others end."""
        return self.state is State.OPEN

    @property
    def capacity(self) -> int:
        """How many more streams the peer lets us open now."""
        return self.connection.capacity

    @property
    def stalled(self) -> bool:
        """Whether the window that all streams share is shut, because readers at either end are slow."""
        return self.connection.window_shut

    @property
    def live(self) -> int:
        """Streams that are not over."""
        return self.connection.live

    # Streams, for TunnelStream.

    def add(self, stream_id: int) -> TunnelStream:
        """Keep a stream that the connection has just opened or been asked for."""
        stream = TunnelStream(self, self._channel, self.connection.stream(stream_id))
        self._streams[stream_id] = stream
        return stream

    def answer(self, stream: TunnelStream, headers: list[Header]) -> None:
        """Accept."""
        self.connection.answer(stream.stream_id, headers)
        self._write_head()

    def refuse(self, stream: TunnelStream, headers: list[Header]) -> None:
        """Refuse; nothing is sent when the stream was lost meanwhile."""
        if self._streams.pop(stream.stream_id, None) is not None:
            self.connection.refuse(stream.stream_id, headers)
            self._write_output()
            self._stream_over(stream.stream_id)

    def wait_for_room(self, stream: TunnelStream) -> None:
        """Call the stream back when it may send again."""
        self._blocked[stream.stream_id] = stream

    def end(self, stream: TunnelStream) -> None:
        """End our direction of a stream."""
        if stream.stream_id in self._streams:
            self.connection.end(stream.stream_id)
            self._write_output()
            self._stream_over(stream.stream_id)

    def reset(self, stream: TunnelStream, code: int) -> None:
        """Give a stream up; nothing happens when it is over."""
        lived = self._streams.pop(stream.stream_id, None) is not None
        self.connection.reset(stream.state, code)
        self._write_output()
        if lived:
            self._stream_over(stream.stream_id)

    def _stream_over(self, stream_id: int) -> None:
        """A stream may be over in both directions: forget it, and let whoever waits for room look again."""
        if self.connection.alive(stream_id):
            return
        self._streams.pop(stream_id, None)
        self._blocked.pop(stream_id, None)
        self.on_change()
        self._close_if_finished()

    def _close_if_finished(self) -> None:
        # What the connection knows to be over already, its stream may yet have to be told.
        if self.connection.finished and not self._streams:
            self.close()

    # From the channel.

    def on_plaintext(self, data: memoryview, most: int = 0) -> None:
        """Handle a read: `most` frames of it, or what one turn may have, and the rest in later turns."""
        connection = self.connection
        try:
            if self._backlog:
                self._catch_up()  # the channel reads on to the end of a connection that broke
            now = self.loop.time()
            try:
                events = connection.receive(data, now, most or FRAMES_PER_TURN)
            except RemoteProtocolError as exc:
                self._fail(exc.kind, f"peer broke the protocol: {exc}")
                return
            for event in events:
                if type(event) is Data:
                    stream = self._streams.get(event.stream_id)
                    if stream is None:
                        continue
                    receiver = stream.receiver
                    if receiver is not None:
                        receiver.on_data(event.payload)
                    else:
                        stream.on_early(event.payload)
                else:
                    self._handle(event)
            if connection.incomplete or self._deadlines.incomplete_since is not None:
                self._deadlines.received(now)
            if connection.has_output:
                self._channel.write(connection.output())
            if connection.unread:
                self._keep(connection.unread)
        except Exception:
            log.exception(_CRASHED, self.peer, self.connection)
            self._crash()

    def _keep(self, unread: memoryview) -> None:
        """Leave the rest of a read to the next turn."""
        if type(unread.obj) is not bytes:
            unread = memoryview(bytes(unread))  # the channel's buffer is used again
        self._backlog = unread
        self._channel.pause()
        self.loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        backlog, self._backlog = self._backlog, NOTHING
        if backlog:
            self.on_plaintext(backlog)
        if not self._backlog:
            self._channel.resume()

    def _catch_up(self) -> None:
        backlog, self._backlog = self._backlog, NOTHING
        self.on_plaintext(backlog, EVERY)

    def on_relieved(self) -> None:
        """Let all who wait try again."""
        self._fenced(self._unblock)

    def on_channel_closed(self, reason: str | None) -> None:
        """The connection is gone; what had come before is handled first."""
        if self._backlog:
            self._catch_up()
        if reason is None and self.state not in ENDED:
            reason = "closed by the peer"
        if reason is not None and self._farewell is not None:
            reason = f"{reason} after {self._farewell}"
        self._finish(reason)

    def _fenced(self, work: Callable[..., None], *given: object) -> None:
        """Do what the loop or the channel asks for; a bug of ours in it ends this tunnel and nothing else."""
        try:
            work(*given)
        except Exception:
            log.exception(_CRASHED, self.peer, self.connection)
            self._crash()

    def _crash(self) -> None:
        self.fault = "internal error"
        self.abort("internal error")

    def _handle(self, event: PeerEvent) -> None:
        match event:
            case Ended():
                self._ended(event)
            case Reset():
                self._reset(event)
            case WindowOpened():
                self._window_opened(event.stream_id)
            case Answered():
                stream = self._streams.get(event.stream_id)
                if stream is not None:
                    stream.on_answered(event.status, event.headers)
            case Requested():
                if not self.connection.closed:
                    self.on_requested(self.add(event.stream_id), event.headers)
            case SettingsReceived():
                self.settings_ns = self.settings_ns or monotonic_ns()
                self._unblock()
                self.on_change()
            case Draining():
                self._told_to_go(event)
            case Drained():
                self._close_if_finished()
            case Pong():
                self._keepalive.answered()

    def _told_to_go(self, event: Draining) -> None:
        if event.code != ErrorCodes.NO_ERROR or event.debug:
            said = f" ({event.debug})" if event.debug else ""
            self._farewell = f"GOAWAY {code_name(event.code)}{said}"
            log.warning(
                "goaway received peer=%s code=%s debug=%r", self.peer, code_name(event.code), event.debug
            )
        self.on_change()
        self._close_if_finished()

    def _ended(self, event: Ended) -> None:
        stream = self._streams.get(event.stream_id)
        if stream is not None:
            stream.on_ended()
            self._stream_over(event.stream_id)

    def _reset(self, event: Reset) -> None:
        stream = self._streams.pop(event.stream_id, None)
        if stream is not None:
            stream.on_lost(event.code, event.reason)
        self._stream_over(event.stream_id)

    def _window_opened(self, stream_id: int) -> None:
        if not stream_id:
            self._unblock()
            return
        stream = self._blocked.pop(stream_id, None)
        if stream is not None:
            stream.on_sendable()

    def on_requested(self, stream: TunnelStream, headers: list[Header]) -> None:
        """Server: a CONNECT came."""
        raise NotImplementedError

    def _unblock(self) -> None:
        waiting, self._blocked = self._blocked, {}
        for stream in waiting.values():
            stream.on_sendable()

    def _write_head(self) -> None:
        """A head is waited for: with no other stream to share the system call, it leaves now."""
        self._channel.write(self.connection.output(), now=self.connection.live == 1)

    def _write_output(self) -> None:
        if self.connection.has_output:
            self._channel.write(self.connection.output())

    # Time.

    def _arm(self) -> None:
        often_s = min(self.timing.handshake_s, self.timing.ping_interval_s) / 2
        self._timer = self.loop.call_later(often_s, self._fenced, self._tick)

    def _tick(self) -> None:
        now = self.loop.time()
        overdue = self._deadlines.overdue(now)
        if overdue is not None:
            self._fail("deadline", overdue)
            return
        match self._keepalive.due(now):
            case Action.PING:
                self.connection.ping()
                self._write_output()
            case Action.GIVE_UP:
                self.fault = "PING timeout"
                self.abort(f"no answer to PING in {self.timing.ping_timeout_s:g} s")
                return
            case Action.NOTHING:
                pass
        self._arm()

    # The end.

    def retire(self) -> None:
        """Open no more streams and close when those that live are over; the peer is not told before."""
        self.connection.life.apply(Event.RETIRED)
        self.on_change()
        self._close_if_finished()

    def drain(self) -> None:
        """No more streams; those that live go on. The owner closes the tunnel when they are over."""
        self.connection.drain()
        self._write_output()
        self.on_change()
        self._close_if_finished()

    def close(self) -> None:
        """End the tunnel in order: GOAWAY, close_notify, FIN. Live streams are lost."""
        self._close(None)

    def abort(self, reason: str) -> None:
        """End the tunnel now, by reset."""
        self._channel.reset()
        self._finish(reason)

    def _fail(self, fault: str, reason: str) -> None:
        """End the tunnel because of the peer, and tell it."""
        if self._channel.stage < Stage.CLOSING:
            self.fault = fault
        self._close(reason)

    def _close(self, reason: str | None) -> None:
        if self._channel.stage >= Stage.CLOSING:
            return
        self.close_reason = reason
        self._lose_streams(reason or "tunnel closed")
        # A connection that has closed itself over an error has said why.
        self.connection.close(ErrorCodes.NO_ERROR if reason is None else ErrorCodes.PROTOCOL_ERROR)
        self._write_output()
        self._channel.close()
        self._stop_timer()
        if not self.over:
            self._wait_for_delivery(self._channel.undelivered, self.timing.linger_s)
        self.on_change()

    def _wait_for_delivery(self, before: int, patience_s: float) -> None:
        """Wait for the peer's own end while our last bytes move, and a moment longer."""
        self._timer = self.loop.call_later(CLOSE_S, self._look_at_delivery, before, patience_s)

    def _look_at_delivery(self, before: int, patience_s: float) -> None:
        left = self._channel.undelivered
        patience_s = self.timing.linger_s if left < before else patience_s - CLOSE_S
        if before and patience_s > 0:
            self._wait_for_delivery(left, patience_s)
        else:
            self._channel.abort()
            self._finish(None)

    def _finish(self, reason: str | None) -> None:
        if self.over:
            return
        self.close_reason = self.close_reason or reason
        self._stop_timer()
        self._lose_streams(reason or "tunnel closed")
        self.connection.close()  # nobody is left to be told, but it shall know
        self.connection.life.apply(Event.GONE)
        self.on_closed()
        self.on_change()
        # Whoever is told knows us as well: only the collector could free what refers to itself.
        self.on_closed = self.on_change = _nothing

    def _lose_streams(self, reason: str) -> None:
        streams, self._streams = self._streams, {}
        self._blocked.clear()
        for stream in streams.values():
            try:
                stream.on_lost(ErrorCodes.CONNECT_ERROR, reason)
            except Exception:
                log.exception("stream failed unexpectedly at its end stream=%d", stream.stream_id)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _nothing() -> None:
    pass
