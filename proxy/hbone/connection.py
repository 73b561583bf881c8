"""One HBONE connection: bytes in, events out, bytes out.

connection.start()                      our preface and SETTINGS go into the output
connection.receive(bytes, now)          -> events
connection.connect / answer / end / reset / credit / ping / drain / close
connection.output()                     what is to be sent now, frames in order
connection.sendable(id); connection.pack(id, buffer, n)
                                        a DATA frame's head, written in front of its payload by
                                        the caller's own buffer; it goes out after `output()`
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from h2 import events as h2_events
from h2.errors import ErrorCodes

from proxy.hbone import frames
from proxy.hbone.core import Core
from proxy.hbone.errors import Flood, LocalProtocolError, RemoteProtocolError
from proxy.hbone.events import (
    Answered,
    Data,
    Draining,
    Ended,
    Event,
    Header,
    Pong,
    Requested,
    Reset,
    SettingsReceived,
    WindowOpened,
)
from proxy.hbone.frames import ACK, HEAD_BYTES, FrameType
from proxy.hbone.limits import CLIENT_LIMITS, SERVER_LIMITS, Bucket, Limits
from proxy.hbone.settings import PeerSettings
from proxy.hbone.splitter import Splitter
from proxy.hbone.windows import ReceiveWindow, SendWindow

MAX_PAYLOAD: Final = 65_536 - HEAD_BYTES
"""Most bytes in a DATA frame of ours: with its head it fills four TLS records exactly."""

_KEEPALIVE: Final = b"keepaliv"
_DRAIN: Final = b"draining"


class Side(Enum):
    """Which end of the connection this is."""

    CLIENT = auto()
    SERVER = auto()


@dataclass(slots=True)
class Stream:
    """What we know of a stream; h2 knows its state as well, and both agree."""

    stream_id: int
    receive: ReceiveWindow
    send: SendWindow
    answered: bool = False
    local_ended: bool = False
    remote_ended: bool = False
    lost: bool = False
    """Reset, by either side: whatever it held is given back."""

    @property
    def closed(self) -> bool:
        """Whether it is over in both directions."""
        return self.lost or (self.local_ended and self.remote_ended)


class Connection:
    """One side of an HBONE connection."""

    def __init__(self, side: Side, limits: Limits | None = None) -> None:
        self.side = side
        self.limits = limits or (CLIENT_LIMITS if side is Side.CLIENT else SERVER_LIMITS)
        self.peer = PeerSettings()
        self.closed = False
        """Nothing more may be received or sent, except what is in the output."""
        self.draining = False
        """GOAWAY was sent or received: no new streams, live ones go on."""
        self.acknowledged = False
        """The peer acknowledged our SETTINGS."""
        self.incomplete = False
        """Whether the peer has begun a frame or header block (other than DATA) and not finished it,
        or not finished its preface: what a deadline should watch."""
        self.opened = 0
        """Streams ever opened or accepted."""
        self._core = Core(client=side is Side.CLIENT, limits=self.limits)
        self._splitter = Splitter(self, self.limits)
        self._preface = b"" if side is Side.CLIENT else frames.PREFACE
        self._streams: dict[int, Stream] = {}
        self._live = 0
        self._highest = 0
        """Highest stream id used by the client, whichever side we are."""
        self._accept_up_to = frames.MAX_STREAM_ID
        self._final = False
        """No request is under way any more: our bound is announced, or the client said GOAWAY."""
        self._receive = ReceiveWindow(self.limits.connection_window)
        self._send = SendWindow(frames.DEFAULT_WINDOW)
        self._payload_room = min(self.peer.max_frame, MAX_PAYLOAD)
        self._out = bytearray()
        self._events: list[Event] = []
        self._requested_now: set[int] = set()
        self._withdrawn: set[int] = set()
        self._now = 0.0
        self._data: Stream | None = None
        """The stream of the DATA frame that is being received; None: discard it."""
        self._discard = 0
        self._empty_frames = 0
        self._data_sent = 0
        self._window_updates = 0
        self._resets = Bucket("resets", self.limits.resets)
        self._pings = Bucket("PING", self.limits.pings)
        self._settings = Bucket("SETTINGS", self.limits.settings)
        self._priorities = Bucket("PRIORITY", self.limits.priorities)

    def __repr__(self) -> str:
        state = "closed" if self.closed else "draining" if self.draining else "open"
        return f"<{self.side.name.lower()} {state}, {self._live} streams>"

    # State.

    @property
    def live(self) -> int:
        """Streams that are not over in both directions."""
        return self._live

    def alive(self, stream_id: int) -> bool:
        """Whether a stream is not over in both directions."""
        return stream_id in self._streams

    @property
    def drained(self) -> bool:
        """Whether a GOAWAY has done its work: no stream lives, and none can come."""
        return self.draining and not self._live and (self._final or self.side is Side.CLIENT)

    @property
    def capacity(self) -> int:
        """How many more streams we may open now."""
        if self.closed or self.draining:
            return 0
        return max(0, self.peer.max_streams - self._live)

    @property
    def has_output(self) -> bool:
        """Whether `output` would return anything."""
        return bool(self._out)

    # Sending.

    def start(self) -> None:
        """Put our opening into the output; once, first."""
        self._out += self._core.start()

    def output(self) -> bytes:
        """Take the bytes to be sent."""
        out = bytes(self._out)
        self._out.clear()
        return out

    def connect(self, headers: list[Header]) -> int:
        """Client: open a stream with a CONNECT's head; its id."""
        if not self.capacity:
            raise LocalProtocolError(f"{self!r}: no stream can be opened")
        stream_id = self._core.request(headers)
        self._take()
        self._add(stream_id)
        return stream_id

    def answer(self, stream_id: int, headers: list[Header]) -> None:
        """Server: accept a CONNECT with a 200's head."""
        stream = self._live_stream(stream_id)
        stream.answered = True
        self._core.send_headers(stream_id, headers)
        self._take()

    def refuse(self, stream_id: int, headers: list[Header]) -> None:
        """Server: answer a CONNECT with another status, which ends the stream both ways."""
        stream = self._live_stream(stream_id)
        stream.answered = stream.local_ended = True
        self._core.send_headers(stream_id, headers, end_stream=True)
        self._take()
        if stream.remote_ended:
            self._close(stream)
        else:
            # RFC 9113 8.1: a complete answer makes the rest of the request superfluous.
            self._reset(stream, ErrorCodes.NO_ERROR)

    def stream(self, stream_id: int) -> Stream:
        """A stream that was just opened or requested."""
        return self._streams[stream_id]

    def sendable(self, stream: Stream) -> int:
        """How many payload bytes the next DATA frame of a stream may have; 0 while it must wait."""
        if not stream.answered or stream.local_ended or stream.lost:
            return 0
        room = min(self._send.available, stream.send.available, self._payload_room)
        return max(0, room)

    def pack(self, stream: Stream, buffer: bytearray | memoryview, length: int) -> None:
        """Write a DATA frame's head into the first 9 bytes of `buffer`, `length` payload bytes behind it.

        Raises:
            LocalProtocolError: More than `sendable` says.
        """
        connection, send = self._send, stream.send
        if length > connection.available or length > send.available or stream.closed:
            raise LocalProtocolError(f"stream {stream.stream_id}: {length} bytes do not fit its window")
        send.available -= length
        connection.available -= length
        self._data_sent += 1
        frames.head_into(buffer, length, 0, 0, stream.stream_id)

    def end(self, stream_id: int) -> None:
        """End our direction of a stream: END_STREAM, the peer's FIN."""
        stream = self._live_stream(stream_id)
        self._core.end(stream_id)
        self._take()
        stream.local_ended = True
        if stream.remote_ended:
            self._close(stream)

    def reset(self, stream: Stream, code: int) -> None:
        """Give a stream up in both directions, and back to the connection what it held of its window.

        Nothing is sent when it is over already.
        """
        if stream.lost or self.closed:
            return
        if stream.stream_id in self._streams:
            self._reset(stream, code)
        else:
            stream.lost = True
            self._give_back(stream.receive.held)

    def credit(self, stream: Stream, length: int) -> None:
        """`length` bytes of a stream have gone; the peer may send as many again."""
        if stream.lost:
            return  # all it held was given back then
        receive = stream.receive
        increment = receive.give_back(length)
        if increment and not stream.remote_ended:
            self._out += frames.window_update(stream.stream_id, increment)
        increment = self._receive.give_back(length)
        if increment:
            self._out += frames.window_update(0, increment)

    def ping(self) -> None:
        """Ask for a `Pong`."""
        self._out += frames.ping(_KEEPALIVE, ack=False)

    def drain(self) -> None:
        """Say that no more streams are taken; live ones go on.

        A server first says so without a bound, as requests may be under way; the bound follows with
        the answer to a PING (RFC 9113 6.8).
        """
        if self.draining or self.closed:
            return
        self.draining = True
        if self.side is Side.CLIENT:
            self._out += frames.goaway(0, ErrorCodes.NO_ERROR)
        else:
            self._out += frames.goaway(frames.MAX_STREAM_ID, ErrorCodes.NO_ERROR)
            self._out += frames.ping(_DRAIN, ack=False)

    def close(self, code: int = ErrorCodes.NO_ERROR) -> None:
        """GOAWAY, and nothing after it; what lives is lost."""
        if self.closed:
            return
        self.closed = True
        last = self._highest if self.side is Side.SERVER else 0
        self._out += frames.goaway(last, code)

    # Receiving.

    def receive(self, data: bytes | memoryview, now: float) -> list[Event]:
        """Take received bytes.

        Args:
            data: Any portion; `Data` events point into it.
            now: Seconds on any monotonic clock, for the budgets.

        Raises:
            RemoteProtocolError: The peer broke the protocol. The GOAWAY is in the output.
        """
        if self.closed:
            return []
        view = memoryview(data)
        self._now = now
        self._events = []
        if self._requested_now:
            self._requested_now.clear()
            self._withdrawn.clear()
        try:
            if self._preface:
                view = self._receive_preface(view)
            self._splitter.feed(view)
            self.incomplete = bool(self._preface) or self._splitter.incomplete
        except RemoteProtocolError as exc:
            self.close(exc.code)
            raise
        if self._withdrawn:
            # A request that is taken back in the same read was never there: nothing is dialled for it.
            return [e for e in self._events if getattr(e, "stream_id", 0) not in self._withdrawn]
        return self._events

    def _receive_preface(self, view: memoryview) -> memoryview:
        part = bytes(view[: len(self._preface)])
        if not self._preface.startswith(part):
            raise RemoteProtocolError(f"no HTTP/2 preface but {part[:16]!r}")
        self._preface = self._preface[len(part) :]
        return view[len(part) :]

    def _expect_settings_first(self) -> None:
        if not self.peer.received:
            raise RemoteProtocolError("first frame is not SETTINGS")  # RFC 9113 3.4

    def on_whole_data(self, stream_id: int, payload: memoryview, *, end_stream: bool) -> None:
        """Charge a DATA frame to the windows and pass it on; what is out of order goes the long way."""
        length = len(payload)
        stream = self._streams.get(stream_id)
        connection = self._receive
        if (
            stream is None
            or not length
            or stream.remote_ended
            or not stream.answered
            or length > stream.receive.available
            or length > connection.available
        ):
            self._data_in_pieces(stream_id, payload, end_stream=end_stream)
            return
        connection.available -= length
        connection.held += length
        receive = stream.receive
        receive.available -= length
        receive.held += length
        self._empty_frames = 0
        self._events.append(Data(stream_id, payload))
        if end_stream:
            self._core.received_end(stream_id)
            self._remote_end(stream)

    def _data_in_pieces(self, stream_id: int, payload: memoryview, *, end_stream: bool) -> None:
        self.on_data_head(stream_id, len(payload))
        if payload:
            self.on_data(payload)
        self.on_data_end(stream_id, empty=not payload, end_stream=end_stream)

    def on_data_head(self, stream_id: int, length: int) -> None:
        """Charge a DATA frame to the windows and find its stream."""
        self._expect_settings_first()
        if not self._receive.take(length):
            raise RemoteProtocolError("connection window exceeded", ErrorCodes.FLOW_CONTROL_ERROR)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id)
        elif stream.remote_ended:
            self._blame(stream, ErrorCodes.STREAM_CLOSED, "DATA after END_STREAM")
            stream = None
        elif self.side is Side.CLIENT and not stream.answered:
            self._blame(stream, ErrorCodes.PROTOCOL_ERROR, "DATA before the answer")
            stream = None
        elif not stream.receive.take(length):
            stream.receive.held -= length  # the connection's share is given back below
            self._blame(stream, ErrorCodes.FLOW_CONTROL_ERROR, "stream window exceeded")
            stream = None
        if stream is None:
            self._give_back(length)
        self._data = stream

    def on_padding(self, length: int) -> None:
        """Padding is flow-controlled and gone at once."""
        if self._data is not None:
            self.credit(self._data, length)

    def on_data(self, payload: memoryview) -> None:
        """Pass payload on, unless its stream is over."""
        if self._data is not None:
            self._events.append(Data(self._data.stream_id, payload))

    def on_data_end(self, stream_id: int, *, empty: bool, end_stream: bool) -> None:
        """Finish a DATA frame."""
        stream, self._data = self._data, None
        if empty and not end_stream:
            self._empty_frames += 1
            if self._empty_frames > self.limits.empty_frames:
                raise Flood("empty DATA")
        else:
            self._empty_frames = 0
        # The stream may have been reset by us while the frame was coming.
        if end_stream and stream is not None and self._streams.get(stream_id) is stream:
            self._core.received_end(stream_id)
            self._remote_end(stream)

    def on_headers(self, stream_id: int, block: bytes, *, end_stream: bool) -> None:
        """A head: a request, an answer, or something that has no place on a tunnel."""
        self._expect_settings_first()
        stream = self._streams.get(stream_id)
        if self.side is Side.SERVER:
            if stream is None and stream_id > self._highest:
                self._requested(stream_id, block, end_stream=end_stream)
                return
        elif stream is not None and not stream.answered:
            self._answered(stream, block, end_stream=end_stream)
            return
        self._core.decode(block)
        if stream is None:
            self._check_not_idle(stream_id)
            self._resets.take(self._now)
        else:
            # RFC 9113 8.5: anything but DATA on a connected stream is a stream error.
            self._blame(stream, ErrorCodes.PROTOCOL_ERROR, "HEADERS on a connected stream")

    def _requested(self, stream_id: int, block: bytes, *, end_stream: bool) -> None:
        if stream_id > self._accept_up_to or stream_id % 2 == 0 or self.closed:
            if stream_id % 2 == 0:
                raise RemoteProtocolError(f"stream {stream_id}: a client's are odd")
            self._core.decode(block)
            self._out += frames.rst_stream(stream_id, ErrorCodes.REFUSED_STREAM)
            self._resets.take(self._now)
            return
        events = self._core.received_headers(stream_id, block, end_stream=end_stream)
        self._take()
        for event in events:
            if not isinstance(event, h2_events.RequestReceived):
                continue
            stream = self._add(stream_id)
            stream.remote_ended = end_stream
            headers = [(bytes(name), bytes(value)) for name, value in event.headers or []]
            if self._live > self.limits.max_streams:
                self._blame(stream, ErrorCodes.REFUSED_STREAM, "too many streams", report=False)
            elif len(headers) > self.limits.header_fields:
                self._blame(stream, ErrorCodes.ENHANCE_YOUR_CALM, "too many header fields", report=False)
            else:
                self._requested_now.add(stream_id)
                self._events.append(Requested(stream_id, headers))
                if end_stream:
                    self._events.append(Ended(stream_id))

    def _answered(self, stream: Stream, block: bytes, *, end_stream: bool) -> None:
        events = self._core.received_headers(stream.stream_id, block, end_stream=end_stream)
        self._take()
        for event in events:
            if isinstance(event, h2_events.InformationalResponseReceived):
                self._priorities.take(self._now)
            if not isinstance(event, h2_events.ResponseReceived):
                continue
            stream.answered = True
            headers = [(bytes(name), bytes(value)) for name, value in event.headers or []]
            status = int(dict(headers)[b":status"])
            self._events.append(Answered(stream.stream_id, status, headers))
            if end_stream:
                self._remote_end(stream)

    def on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Everything but DATA and heads."""
        if kind == FrameType.SETTINGS:
            self._received_settings(flags, stream_id, payload)
            return
        self._expect_settings_first()
        match kind:
            case FrameType.WINDOW_UPDATE:
                self._received_window_update(stream_id, payload)
            case FrameType.RST_STREAM:
                self._received_reset(stream_id, payload)
            case FrameType.PING:
                self._received_ping(flags, stream_id, payload)
            case FrameType.GOAWAY:
                self._received_goaway(stream_id, payload)
            case FrameType.PUSH_PROMISE:
                raise RemoteProtocolError("PUSH_PROMISE")  # RFC 9113 8.4: never wanted, here never sent
            case _:
                self._priorities.take(self._now)

    def _received_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise RemoteProtocolError(f"SETTINGS on stream {stream_id}")
        self._settings.take(self._now)
        if flags & ACK:
            if payload:
                raise RemoteProtocolError("SETTINGS ACK with a payload", ErrorCodes.FRAME_SIZE_ERROR)
            self._expect_settings_first()
            self._core.received_settings_ack()
            self.acknowledged = True
            return
        first = not self.peer.received
        change, shown = self.peer.apply(payload, self.limits)
        self._payload_room = min(self.peer.max_frame, MAX_PAYLOAD)
        self._core.received_settings(shown)
        self._take()
        if change:
            for stream in self._streams.values():
                self._grow(stream.send, change, stream.stream_id)
        self._events.append(SettingsReceived(first))

    def _received_window_update(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise RemoteProtocolError("WINDOW_UPDATE of another length", ErrorCodes.FRAME_SIZE_ERROR)
        self._window_updates += 1
        allowed = self.limits.window_updates_base + 2 * (self.opened + 10 * self._data_sent)
        if self._window_updates > allowed:
            raise Flood("WINDOW_UPDATE")
        increment = frames.parse_long(payload) & frames.MAX_WINDOW
        if not stream_id:
            if not increment:
                raise RemoteProtocolError("WINDOW_UPDATE by 0")
            self._grow(self._send, increment, 0)
            return
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id)
        elif not increment:
            self._blame(stream, ErrorCodes.PROTOCOL_ERROR, "WINDOW_UPDATE by 0")
        elif stream.send.available + increment > frames.MAX_WINDOW:
            self._blame(stream, ErrorCodes.FLOW_CONTROL_ERROR, "send window over 2^31-1")
        else:
            self._grow(stream.send, increment, stream_id)

    def _received_reset(self, stream_id: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise RemoteProtocolError("RST_STREAM of another length", ErrorCodes.FRAME_SIZE_ERROR)
        self._resets.take(self._now)
        stream = self._streams.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id)
            return
        code = frames.parse_long(payload)
        self._core.received_reset(stream_id, code)
        self._forget(stream)
        if stream_id in self._requested_now:
            self._withdrawn.add(stream_id)
        else:
            self._events.append(Reset(stream_id, code, "reset by the peer"))

    def _received_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise RemoteProtocolError(f"PING on stream {stream_id}")
        if len(payload) != 8:
            raise RemoteProtocolError("PING of another length", ErrorCodes.FRAME_SIZE_ERROR)
        self._pings.take(self._now)
        if not flags & ACK:
            self._out += frames.ping(payload, ack=True)
        elif payload == _KEEPALIVE:
            self._events.append(Pong())
        elif payload == _DRAIN and self.draining and self.side is Side.SERVER:
            self._accept_up_to = self._highest
            self._final = True
            self._out += frames.goaway(self._highest, ErrorCodes.NO_ERROR)

    def _received_goaway(self, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise RemoteProtocolError(f"GOAWAY on stream {stream_id}")
        if len(payload) < 8:
            raise RemoteProtocolError("GOAWAY too short", ErrorCodes.FRAME_SIZE_ERROR)
        self._settings.take(self._now)
        self.draining = self._final = True
        last, code = frames.parse_long(payload) & frames.MAX_STREAM_ID, frames.parse_long(payload, 4)
        self._events.append(Draining(last, code))
        if self.side is Side.CLIENT:
            for stream in [s for s in self._streams.values() if s.stream_id > last]:
                # RFC 9113 6.8: not processed, safe to try elsewhere.
                self._reset(stream, ErrorCodes.CANCEL)
                self._events.append(Reset(stream.stream_id, ErrorCodes.REFUSED_STREAM, "beyond GOAWAY"))

    # Streams.

    def _take(self) -> None:
        self._out += self._core.take()

    def _add(self, stream_id: int) -> Stream:
        stream = Stream(
            stream_id, ReceiveWindow(self.limits.stream_window), SendWindow(self.peer.initial_window)
        )
        self._streams[stream_id] = stream
        self._highest = max(self._highest, stream_id)
        self._live += 1
        self.opened += 1
        return stream

    def _live_stream(self, stream_id: int) -> Stream:
        stream = self._streams.get(stream_id)
        if stream is None or self.closed:
            raise LocalProtocolError(f"stream {stream_id} is over")
        return stream

    def _check_not_idle(self, stream_id: int) -> None:
        if stream_id > self._highest or stream_id % 2 == 0:
            raise RemoteProtocolError(f"frame on stream {stream_id}, which was never opened")  # 5.1

    def _grow(self, window: SendWindow, change: int, stream_id: int) -> None:
        shut = window.available <= 0
        if not window.grow(change):
            raise RemoteProtocolError("send window over 2^31-1", ErrorCodes.FLOW_CONTROL_ERROR)
        if shut and window.available > 0:
            self._events.append(WindowOpened(stream_id))

    def _give_back(self, length: int) -> None:
        increment = self._receive.give_back(length)
        if increment:
            self._out += frames.window_update(0, increment)

    def _remote_end(self, stream: Stream) -> None:
        stream.remote_ended = True
        self._events.append(Ended(stream.stream_id))
        if stream.local_ended:
            self._close(stream)

    def _close(self, stream: Stream) -> None:
        """Both directions ended. What it holds still counts against the connection until it is credited."""
        self._live -= 1
        del self._streams[stream.stream_id]

    def _reset(self, stream: Stream, code: int) -> None:
        self._core.reset(stream.stream_id, code)
        self._take()
        self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        """A stream is over without an end: whatever it held is given back to the connection."""
        stream.lost = True
        del self._streams[stream.stream_id]
        self._live -= 1
        if self._data is stream:
            self._data = None
        self._give_back(stream.receive.held)

    def _blame(self, stream: Stream, code: ErrorCodes, reason: str, *, report: bool = True) -> None:
        """Reset a stream because of what the peer sent; that counts against it (CVE-2025-8671)."""
        self._reset(stream, code)
        if stream.stream_id in self._requested_now:
            self._withdrawn.add(stream.stream_id)
        elif report:
            self._events.append(Reset(stream.stream_id, code, reason))
        self._resets.take(self._now)
