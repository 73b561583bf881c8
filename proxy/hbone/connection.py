"""One HBONE connection: bytes in, events out, bytes out.

connection.start()                      our preface and SETTINGS go into the output
connection.receive(bytes, now)          -> events
connection.connect / answer / refuse / end / reset / ping / drain / close
connection.output()                     what is to be sent now, frames in order
stream = connection.stream(id)          what the calls that come often take instead of its id
connection.sendable(stream); connection.credit(stream, n)
connection.pack(stream, buffer, n)      a DATA frame's head, written in front of its payload in
                                        the caller's own buffer; it goes out after `output()`
"""

from __future__ import annotations

from typing import Final

from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from proxy.hbone import frames
from proxy.hbone.errors import LocalProtocolError, RemoteProtocolError
from proxy.hbone.events import Event as PeerEvent
from proxy.hbone.events import Header
from proxy.hbone.frames import HEAD_BYTES
from proxy.hbone.life import ENDS_EMPTY, Event, Life, State
from proxy.hbone.limits import CLIENT_LIMITS, SERVER_LIMITS, Limits
from proxy.hbone.receiver import DRAIN_PING, KEEPALIVE_PING, NOTHING, Receiver
from proxy.hbone.settings import PeerSettings
from proxy.hbone.splitter import EVERY
from proxy.hbone.streams import Side, Stream, Streams
from proxy.hbone.windows import RESERVE, Reserve

__all__ = ["MAX_PAYLOAD", "Connection", "Side", "Stream"]

MAX_PAYLOAD: Final = 65_536 - HEAD_BYTES
"""Most bytes in a DATA frame of ours: with its head it fills four TLS records exactly."""


class Connection:
    """One side of an HBONE connection."""

    def __init__(self, side: Side, limits: Limits | None = None, *, reserve: Reserve = RESERVE) -> None:
        """`reserve`: what connections may hold for slow readers beyond their windows; the process's own."""
        self.side = side
        self.limits = limits or (CLIENT_LIMITS if side is Side.CLIENT else SERVER_LIMITS)
        self._streams = Streams(side, self.limits, reserve)
        self._low = self.limits.connection_window // 2
        self.unread: memoryview = NOTHING
        """What the last `receive` has left: the part of its `data` with which to call it next."""
        self._receiver = Receiver(self._streams)
        self.has_output = self._out = self._streams.out
        """Whether `output` would return anything: true while these bytes are."""
        self.credit = self._streams.credit
        """Bytes of a stream have gone: `credit(stream, length)`; the peer may send as many again."""

    def __repr__(self) -> str:
        return f"<{self.side.name.lower()} {self.life.state}, {self.live} streams>"

    # State.

    @property
    def life(self) -> Life:
        """Where it is in its life, which it shares with the tunnel that it is on."""
        return self._streams.life

    @property
    def peer(self) -> PeerSettings:
        """What the peer announced."""
        return self._streams.peer

    @property
    def live(self) -> int:
        """Streams that are not over in both directions."""
        return len(self._streams.live)

    @property
    def opened(self) -> int:
        """Streams ever opened or requested."""
        return self._streams.opened

    @property
    def capacity(self) -> int:
        """How many more streams we may open now."""
        streams = self._streams
        if streams.life.state is not State.OPEN or streams.highest >= frames.MAX_STREAM_ID:
            return 0
        return max(0, streams.peer.max_streams - len(streams.live))

    @property
    def window_shut(self) -> bool:
        """Whether the window that all streams share is used up, either way, because readers are slow."""
        streams = self._streams
        return streams.send.available <= 0 or streams.receive.available < self.limits.connection_window // 16

    @property
    def closed(self) -> bool:
        """Nothing more may be received or sent, except what is in the output."""
        return self._streams.life.ended

    @property
    def finished(self) -> bool:
        """Whether it is to be closed: no stream lives, and none may come."""
        return not self._streams.live and self._streams.life.state in ENDS_EMPTY

    @property
    def acknowledged(self) -> bool:
        """The peer acknowledged our SETTINGS."""
        return self._streams.acknowledged

    @property
    def incomplete(self) -> bool:
        """Whether the peer has begun a frame or header block (other than DATA) and not finished it,
        or not finished its preface: what a deadline should watch."""
        return self._receiver.incomplete

    def alive(self, stream_id: int) -> bool:
        """Whether a stream is not over in both directions."""
        return stream_id in self._streams.live

    def stream(self, stream_id: int) -> Stream:
        """A stream that was just opened or requested."""
        return self._streams.live[stream_id]

    # Receiving.

    def receive(self, data: bytes | memoryview, now: float, most: int = EVERY) -> list[PeerEvent]:
        """Take received bytes.

        Args:
            data: Any portion; `Data` events point into it.
            now: Seconds on any monotonic clock, for the budgets.
            most: Frames to be taken; what is behind them is `unread` then.

        Raises:
            RemoteProtocolError: The peer broke the protocol. The GOAWAY is in the output.
        """
        if self._streams.life.ended:
            return []
        try:
            events = self._receiver.feed(memoryview(data), now, most)
        except RemoteProtocolError as exc:
            self.close(exc.code)
            raise
        self.unread = self._receiver.unread
        return events

    def advance(self) -> None:
        """Bytes could not be passed on at once: let no slow reader shut the window that all share."""
        if self._streams.receive.available < self._low:
            self._streams.advance()

    # Sending: bytes.

    def output(self) -> bytes:
        """Take the bytes to be sent."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def sendable(self, stream: Stream) -> int:
        """How many payload bytes the next DATA frame of a stream may have; 0 while it must wait."""
        if not stream.answered or stream.local_ended or stream.lost:
            return 0
        streams = self._streams
        room = min(streams.send.available, stream.send.available, streams.peer.max_frame, MAX_PAYLOAD)
        return max(0, room)

    def pack(self, stream: Stream, buffer: bytearray | memoryview, length: int) -> None:
        """Write a DATA frame's head into the first 9 bytes of `buffer`, `length` payload bytes behind it.

        Raises:
            LocalProtocolError: More than `sendable` says.
        """
        streams, send = self._streams, stream.send
        connection = streams.send
        if length > connection.available or length > send.available or stream.local_ended or stream.lost:
            raise LocalProtocolError(f"stream {stream.stream_id}: {length} bytes do not fit its window")
        send.available -= length
        connection.available -= length
        streams.data_sent += 1 + (length >> 14)
        frames.head_into(buffer, length, 0, 0, stream.stream_id)

    # Sending: everything else.

    def start(self) -> None:
        """Put our opening into the output; once, first."""
        limits = self.limits
        entries: list[tuple[int, int]] = [
            (SettingCodes.INITIAL_WINDOW_SIZE, limits.stream_window),
            (SettingCodes.MAX_FRAME_SIZE, limits.max_frame),
            (SettingCodes.MAX_HEADER_LIST_SIZE, limits.header_list),
        ]
        if self.side is Side.CLIENT:
            self._out += frames.PREFACE
            entries.insert(0, (SettingCodes.ENABLE_PUSH, 0))
        else:
            entries.insert(0, (SettingCodes.MAX_CONCURRENT_STREAMS, limits.max_streams))
        self._out += frames.settings(entries)
        increment = limits.connection_window - frames.DEFAULT_WINDOW
        if increment > 0:
            self._out += frames.window_update(0, increment)

    def connect(self, headers: list[Header]) -> int:
        """Client: open a stream with a CONNECT's head; its id."""
        if not self.capacity:
            raise LocalProtocolError(f"{self!r}: no stream can be opened")
        streams = self._streams
        stream_id = streams.highest + 2 if streams.highest else 1
        streams.add(stream_id)
        self._send_head(stream_id, headers)
        return stream_id

    def answer(self, stream_id: int, headers: list[Header]) -> None:
        """Server: accept a CONNECT with a 200's head."""
        stream = self._live(stream_id)
        self._answer_once(stream)
        self._send_head(stream_id, headers)

    def refuse(self, stream_id: int, headers: list[Header]) -> None:
        """Server: answer a CONNECT with another status, which ends the stream both ways."""
        stream = self._live(stream_id)
        self._answer_once(stream)
        stream.local_ended = True
        self._send_head(stream_id, headers, end_stream=True)
        if stream.remote_ended:
            self._streams.forget(stream)
        else:
            # RFC 9113 8.1: a complete answer makes the rest of the request superfluous.
            self._streams.reset(stream, ErrorCodes.NO_ERROR)

    def end(self, stream_id: int) -> None:
        """End our direction of a stream: END_STREAM, the peer's FIN."""
        stream = self._live(stream_id)
        if stream.local_ended or not (stream.answered or self.side is Side.CLIENT):
            raise LocalProtocolError(f"stream {stream_id} cannot be ended now")
        self._out += frames.end_stream(stream_id)
        stream.local_ended = True
        self._streams.end_if_closed(stream)

    def reset(self, stream: Stream, code: int) -> None:
        """Give a stream up in both directions, and back to the connection what it held of its window.

        Nothing is sent when it is over already.
        """
        if stream.lost or self.closed:
            return
        if stream.stream_id in self._streams.live:
            self._streams.reset(stream, code)
        else:
            self._streams.forget(stream)

    def ping(self) -> None:
        """Ask for a `Pong`."""
        self._out += frames.ping(KEEPALIVE_PING, ack=False)

    def drain(self) -> None:
        """Say that no more streams are taken; live ones go on.

        A server first says so without a bound, as requests may be under way; the bound follows with
        the answer to a PING (RFC 9113 6.8).
        """
        if self.side is Side.CLIENT:
            if self.life.apply(Event.BOUND):
                self._out += frames.goaway(0, ErrorCodes.NO_ERROR)
        elif self.life.apply(Event.ANNOUNCED):
            self._out += frames.goaway(frames.MAX_STREAM_ID, ErrorCodes.NO_ERROR)
            self._out += frames.ping(DRAIN_PING, ack=False)

    def close(self, code: int = ErrorCodes.NO_ERROR) -> None:
        """GOAWAY, and nothing after it; what lives is lost."""
        if not self.closed:
            self._streams.close(code)
            self._receiver.close()
            self.unread = NOTHING

    def _answer_once(self, stream: Stream) -> None:
        if stream.answered:
            raise LocalProtocolError(f"stream {stream.stream_id} was answered before")
        stream.answered = True

    def _send_head(self, stream_id: int, headers: list[Header], *, end_stream: bool = False) -> None:
        block = self._streams.heads.encode(headers)
        self._out += frames.headers(stream_id, block, end_stream=end_stream)

    def _live(self, stream_id: int) -> Stream:
        stream = self._streams.live.get(stream_id)
        if stream is None or self.closed:
            raise LocalProtocolError(f"stream {stream_id} is over")
        return stream
