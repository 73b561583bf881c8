"""What the peer sends: frames to events, with every budget charged on the way."""

from __future__ import annotations

from typing import Final

from h2.errors import ErrorCodes

from proxy.hbone import frames
from proxy.hbone.errors import Flood, MalformedHead, RemoteProtocolError, code_name
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
from proxy.hbone.frames import ACK, FrameType
from proxy.hbone.life import Event, State
from proxy.hbone.limits import PREMATURE_S, Bucket
from proxy.hbone.splitter import Splitter
from proxy.hbone.streams import Side, Stream, Streams
from proxy.hbone.windows import SendWindow

KEEPALIVE_PING: Final = b"keepaliv"
"""In PINGs that ask whether the peer lives."""
DRAIN_PING: Final = b"draining"
"""In the PING whose answer says that no request can be under way any more."""

JOINED_BYTES: Final = 2048
"""Payloads below this that follow each other on a stream, in one read, are passed on as one: to copy them
costs a tenth of what it takes an app's socket to be given each."""
MAX_DEBUG: Final = 64
"""Characters of a GOAWAY's debug data that are kept."""
NOTHING: Final = memoryview(b"")


class Receiver:
    """The receiving half of a connection."""

    def __init__(self, streams: Streams) -> None:
        self.incomplete = False
        """Whether a frame other than DATA, a header block or the preface has begun and is not complete."""
        self._streams = streams
        self._heads = streams.heads
        self._limits = limits = streams.limits
        self._splitter = Splitter(self, limits)
        self._preface = b"" if streams.side is Side.CLIENT else frames.PREFACE
        self._now = 0.0
        self._events: list[PeerEvent] = []
        self._requested_now: set[int] = set()
        self._withdrawn: set[int] = set()
        self.unread = NOTHING
        """What the last read has behind the frames that were taken."""
        self._data: Stream | None = None
        """The stream of the DATA frame that is being received; None: discard it."""
        self._empty_frames = 0
        self._window_updates = 0
        self._resets_received = 0
        self._resets = Bucket("resets", limits.resets)
        self._padding = Bucket("padding", limits.padding)
        self._pings = Bucket("PING", limits.pings)
        self._settings = Bucket("SETTINGS", limits.settings)
        self._priorities = Bucket("PRIORITY", limits.priorities)
        self._informational = Bucket("informational answers", limits.informational)

    def feed(self, view: memoryview, now: float, most: int) -> list[PeerEvent]:
        """Take received bytes, as far as they are at most so many frames; what they mean."""
        self._now = now
        self._events = []
        if self._requested_now:
            self._requested_now.clear()
            self._withdrawn.clear()
        if self._preface:
            view = self._feed_preface(view)
        taken = self._splitter.feed(view, most)
        self.unread = view[taken:] if taken < len(view) else NOTHING
        self.incomplete = bool(self._preface) or self._splitter.incomplete
        if self._withdrawn:
            # A request that is taken back in the same read was never there: nothing is dialled for it.
            return [e for e in self._events if getattr(e, "stream_id", 0) not in self._withdrawn]
        return self._events

    def close(self) -> None:
        """Take no more: let go of the splitter, as it refers back and only the collector could free both."""
        self.unread = NOTHING
        del self._splitter

    def _feed_preface(self, view: memoryview) -> memoryview:
        part = bytes(view[: len(self._preface)])
        if not self._preface.startswith(part):
            raise RemoteProtocolError(f"no HTTP/2 preface but {part[:16]!r}")
        self._preface = self._preface[len(part) :]
        return view[len(part) :]

    def _expect_settings_first(self) -> None:
        if not self._streams.peer.received:
            raise RemoteProtocolError("first frame is not SETTINGS")  # RFC 9113 3.4

    # DATA.

    def on_whole_data(self, stream_id: int, payload: memoryview, *, end_stream: bool) -> None:
        """A DATA frame in one piece."""
        length = len(payload)
        stream = self._charge(stream_id, length)
        if stream is None or not length:
            self._data = stream
            self.on_data_end(empty=not length, padded=False, end_stream=end_stream)
            return
        if self._events:
            self._deliver(stream, payload)
        else:
            self._events.append(Data(stream_id, payload))
        self._empty_frames = 0
        if end_stream:
            self._remote_end(stream)

    def on_data_head(self, stream_id: int, length: int) -> None:
        """A DATA frame begins."""
        self._data = self._charge(stream_id, length)

    def _charge(self, stream_id: int, length: int) -> Stream | None:
        """Charge a DATA frame to the windows; the stream that takes it, None where it is discarded."""
        streams = self._streams
        stream = streams.live.get(stream_id)
        if stream is None:
            self._expect_settings_first()
        connection = streams.receive
        connection.available -= length
        connection.held += length
        if connection.available < 0:
            raise RemoteProtocolError("connection window exceeded", ErrorCodes.FLOW_CONTROL_ERROR)
        if stream is None:
            self._check_not_idle(stream_id)
            if stream_id not in streams.tolerated:
                self._turn_away(stream_id, ErrorCodes.STREAM_CLOSED)  # RFC 9113 5.1
        elif stream.remote_ended:
            self._blame(stream, ErrorCodes.STREAM_CLOSED, "DATA after END_STREAM")
        elif not stream.answered and streams.side is Side.CLIENT:
            self._blame(stream, ErrorCodes.PROTOCOL_ERROR, "DATA before the answer")
        elif length > stream.receive.available:
            self._blame(stream, ErrorCodes.FLOW_CONTROL_ERROR, "stream window exceeded")
        else:
            stream.receive.available -= length
            stream.receive.held += length
            return stream
        streams.give_back(length)
        return None

    def on_padding(self, length: int) -> None:
        """Padding is flow-controlled and gone at once."""
        if self._data is not None:
            self._streams.credit(self._data, length)

    def on_data(self, payload: memoryview) -> None:
        """Some of a frame's payload; its stream may have been reset while it was coming."""
        if self._data is not None and not self._data.lost:
            self._deliver(self._data, payload)

    def _deliver(self, stream: Stream, payload: memoryview) -> None:
        """Pass payload on; small frames of a stream in a row are joined."""
        events = self._events
        if events and len(payload) < JOINED_BYTES:
            last = events[-1]
            if type(last) is Data and last.stream_id == stream.stream_id:
                if type(last.payload) is bytearray:
                    last.payload += payload
                    return
                if len(last.payload) < JOINED_BYTES:
                    last.payload = bytearray(last.payload) + payload
                    return
        events.append(Data(stream.stream_id, payload))

    def on_data_end(self, *, empty: bool, padded: bool, end_stream: bool) -> None:
        """Finish a DATA frame."""
        stream, self._data = self._data, None
        if end_stream:
            if stream is not None and not stream.lost:
                self._remote_end(stream)
        elif not empty:
            self._empty_frames = 0
        elif padded:
            self._padding.take(self._now)
        else:
            self._empty_frames += 1
            if self._empty_frames > self._limits.empty_frames:
                raise Flood("empty DATA")

    # Heads.

    def on_headers(self, stream_id: int, block: bytes, *, end_stream: bool) -> None:
        """A head: a request, an answer, or something that has no place on a tunnel."""
        self._expect_settings_first()
        stream = self._streams.live.get(stream_id)
        if self._streams.side is Side.SERVER:
            if stream is None and stream_id > self._streams.highest:
                self._request(stream_id, block, end_stream=end_stream)
                return
        elif stream is not None and not stream.answered:
            self._answer(stream, block, end_stream=end_stream)
            return
        self._heads.decode(block)
        if stream is None:
            self._check_not_idle(stream_id)
            if stream_id not in self._streams.tolerated:
                raise RemoteProtocolError(f"HEADERS on closed stream {stream_id}", ErrorCodes.STREAM_CLOSED)
        elif stream.remote_ended:
            self._blame(stream, ErrorCodes.STREAM_CLOSED, "HEADERS after END_STREAM")
        else:
            # RFC 9113 8.5: anything but DATA on a connected stream is a stream error.
            self._blame(stream, ErrorCodes.PROTOCOL_ERROR, "HEADERS on a connected stream")

    def _request(self, stream_id: int, block: bytes, *, end_stream: bool) -> None:
        streams = self._streams
        if stream_id % 2 == 0:
            raise RemoteProtocolError(f"stream {stream_id}: a client's are odd")
        head = self._heads.decode(block)
        if stream_id > streams.accept_up_to:
            self._turn_away(stream_id, ErrorCodes.REFUSED_STREAM)
            return
        try:
            self._heads.check(head)
        except MalformedHead:
            # RFC 9113 8.1.1 leaves the others alone, and HPACK is in step.
            self._turn_away(stream_id, ErrorCodes.PROTOCOL_ERROR)
            return
        if len(streams.live) >= self._limits.max_streams:
            self._turn_away(stream_id, ErrorCodes.REFUSED_STREAM)
        elif len(head) > self._limits.header_fields:
            self._turn_away(stream_id, ErrorCodes.ENHANCE_YOUR_CALM)
        else:
            stream = streams.add(stream_id)
            stream.remote_ended, stream.asked_at = end_stream, self._now
            self._requested_now.add(stream_id)
            self._events.append(Requested(stream_id, head))
            if end_stream:
                self._events.append(Ended(stream_id))

    def _turn_away(self, stream_id: int, code: ErrorCodes) -> None:
        """Reset a stream that is not, or not any more."""
        self._streams.highest = max(self._streams.highest, stream_id)
        self._streams.tolerate(stream_id)
        self._streams.out += frames.rst_stream(stream_id, code)
        self._resets.take(self._now)

    def _answer(self, stream: Stream, block: bytes, *, end_stream: bool) -> None:
        head = self._heads.decode(block)
        try:
            self._heads.check(head)
            status = _status(head)
        except MalformedHead as exc:
            self._blame(stream, ErrorCodes.PROTOCOL_ERROR, f"malformed answer: {exc}")
            return
        if status < 200:
            self._informational.take(self._now)
            if end_stream:
                self._blame(stream, ErrorCodes.PROTOCOL_ERROR, f"status {status} with END_STREAM")
            return
        stream.answered = True
        self._events.append(Answered(stream.stream_id, status, head))
        if end_stream:
            self._remote_end(stream)

    # Everything else.

    def on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """A frame that is neither DATA nor a head."""
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
            case FrameType.PRIORITY:
                self._received_priority(stream_id, payload)
            case _:
                self._priorities.take(self._now)

    def _received_priority(self, stream_id: int, payload: bytes) -> None:
        """Its form is held, its meaning is none (RFC 9113 5.3.2, 6.3)."""
        if not stream_id:
            raise RemoteProtocolError("PRIORITY on stream 0")
        if len(payload) != 5:
            raise RemoteProtocolError("PRIORITY of another length", ErrorCodes.FRAME_SIZE_ERROR)
        self._priorities.take(self._now)

    def _received_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        streams = self._streams
        if stream_id:
            raise RemoteProtocolError(f"SETTINGS on stream {stream_id}")
        self._settings.take(self._now)
        if flags & ACK:
            if payload:
                raise RemoteProtocolError("SETTINGS ACK with a payload", ErrorCodes.FRAME_SIZE_ERROR)
            self._expect_settings_first()
            streams.acknowledged = True
            return
        change = streams.peer.apply(payload, self._limits, of_server=streams.side is Side.CLIENT)
        streams.out += frames.SETTINGS_ACK
        if change:
            for stream in streams.live.values():
                self._grow(stream.send, change, stream.stream_id)
        self._events.append(SettingsReceived())

    def _received_window_update(self, stream_id: int, payload: bytes) -> None:
        streams = self._streams
        if len(payload) != 4:
            raise RemoteProtocolError("WINDOW_UPDATE of another length", ErrorCodes.FRAME_SIZE_ERROR)
        self._window_updates += 1
        allowed = self._limits.window_updates_base + 2 * (streams.opened + 10 * streams.data_sent)
        if self._window_updates > allowed:
            raise Flood("WINDOW_UPDATE")
        increment = frames.parse_long(payload) & frames.MAX_WINDOW
        if not stream_id:
            if not increment:
                raise RemoteProtocolError("WINDOW_UPDATE by 0")
            self._grow(streams.send, increment, 0)
            return
        stream = streams.live.get(stream_id)
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
        self._resets_received += 1
        stream = self._streams.live.get(stream_id)
        if stream is None:
            self._check_not_idle(stream_id)
            if 2 * self._resets_received > self._streams.highest + 1:
                self._resets.take(self._now)  # more resets than there ever were streams
            return
        if self._streams.side is Side.SERVER and self._premature(stream):
            self._resets.take(self._now)  # rapid reset, CVE-2023-44487; a server's refusals cost us nothing
        code = frames.parse_long(payload)
        self._streams.forget(stream)
        self._report(stream_id, code, "reset by the peer")

    def _premature(self, stream: Stream) -> bool:
        """Whether a stream is unanswered and young."""
        return not stream.answered and self._now < stream.asked_at + PREMATURE_S

    def _received_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        streams = self._streams
        if stream_id:
            raise RemoteProtocolError(f"PING on stream {stream_id}")
        if len(payload) != 8:
            raise RemoteProtocolError("PING of another length", ErrorCodes.FRAME_SIZE_ERROR)
        self._pings.take(self._now)
        if not flags & ACK:
            streams.out += frames.ping(payload, ack=True)
        elif payload == KEEPALIVE_PING:
            self._events.append(Pong())
        elif payload == DRAIN_PING and streams.life.state is State.ANNOUNCED:
            streams.accept_up_to = streams.highest
            streams.life.apply(Event.BOUND)
            self._events.append(Drained())
            streams.out += frames.goaway(streams.highest, ErrorCodes.NO_ERROR)

    def _received_goaway(self, stream_id: int, payload: bytes) -> None:
        streams = self._streams
        if stream_id:
            raise RemoteProtocolError(f"GOAWAY on stream {stream_id}")
        if len(payload) < 8:
            raise RemoteProtocolError("GOAWAY too short", ErrorCodes.FRAME_SIZE_ERROR)
        self._settings.take(self._now)
        streams.life.apply(Event.BOUND)
        last, code = frames.parse_long(payload) & frames.MAX_STREAM_ID, frames.parse_long(payload, 4)
        self._events.append(Draining(code, _debug(payload[8:])))
        if streams.side is Side.CLIENT:
            for stream in [s for s in streams.live.values() if s.stream_id > last]:
                # RFC 9113 6.8: not processed, safe to try elsewhere.
                streams.reset(stream, ErrorCodes.CANCEL)
                reason = f"beyond GOAWAY {code_name(code)}"
                self._events.append(Reset(stream.stream_id, ErrorCodes.REFUSED_STREAM, reason))

    # Streams.

    def _remote_end(self, stream: Stream) -> None:
        stream.remote_ended = True
        self._events.append(Ended(stream.stream_id))
        self._streams.end_if_closed(stream)

    def _check_not_idle(self, stream_id: int) -> None:
        if stream_id > self._streams.highest or stream_id % 2 == 0:
            raise RemoteProtocolError(f"frame on stream {stream_id}, which was never opened")  # 5.1

    def _grow(self, window: SendWindow, change: int, stream_id: int) -> None:
        shut = window.available <= 0
        if not window.grow(change):
            raise RemoteProtocolError("send window over 2^31-1", ErrorCodes.FLOW_CONTROL_ERROR)
        if shut and window.available > 0:
            self._events.append(WindowOpened(stream_id))

    def _blame(self, stream: Stream, code: ErrorCodes, reason: str) -> None:
        """Reset a stream because of what the peer sent; that counts against it (CVE-2025-8671)."""
        self._streams.reset(stream, code)
        self._report(stream.stream_id, code, reason)
        self._resets.take(self._now)

    def _report(self, stream_id: int, code: int, reason: str) -> None:
        if stream_id in self._requested_now:
            self._withdrawn.add(stream_id)
        else:
            self._events.append(Reset(stream_id, code, reason))


def _status(head: list[Header]) -> int:
    """An answer's status, which RFC 9113 8.3.2 makes three digits."""
    raw = dict(head).get(b":status", b"")
    if len(raw) != 3 or not raw.isdigit() or raw < b"100":
        raise MalformedHead(f"status {raw[:16]!r}")
    return int(raw)


def _debug(raw: bytes) -> str:
    """A GOAWAY's debug data, fit for a log whatever it is."""
    return "".join(chr(byte) if 32 <= byte < 127 else "?" for byte in raw[:MAX_DEBUG])
