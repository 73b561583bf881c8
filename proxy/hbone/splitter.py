"""Received bytes to frames: whole ones, except DATA, whose payload is passed on as it comes.

The splitter knows the wire and no stream. It joins a header block's frames into one (so that the
rest never sees CONTINUATION, padding or priority on HEADERS) and bounds what an
unfinished frame or block can hold. Source: RFC 9113 sections 4, 6.1, 6.2, 6.10.
"""

from __future__ import annotations

import sys
from typing import Final, Protocol

from h2.errors import ErrorCodes

from proxy.hbone.errors import Flood, RemoteProtocolError
from proxy.hbone.frames import (
    END_HEADERS,
    END_STREAM,
    HEAD_BYTES,
    PADDED,
    PRIORITY_FLAG,
    FrameType,
    parse_head,
)
from proxy.hbone.limits import Limits

EVERY: Final = sys.maxsize
"""Frames that are taken where nobody says how many."""
_HEADER_TYPES = (FrameType.HEADERS, FrameType.CONTINUATION)


class Handler(Protocol):
    """Who takes the frames."""

    def on_whole_data(self, stream_id: int, payload: memoryview, *, end_stream: bool) -> None:
        """A DATA frame without padding that came in one piece: what nearly all of them are."""

    def on_data_head(self, stream_id: int, length: int) -> None:
        """Otherwise: a DATA frame begins; `length` bytes count against the windows, padding included."""

    def on_padding(self, length: int) -> None:
        """That many of them are padding and have gone."""

    def on_data(self, payload: memoryview) -> None:
        """Some of its payload."""

    def on_data_end(self, *, empty: bool, padded: bool, end_stream: bool) -> None:
        """The DATA frame is complete; `empty`: without payload, whatever its padding."""

    def on_headers(self, stream_id: int, block: bytes, *, end_stream: bool) -> None:
        """A whole header block."""

    def on_frame(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        """Any other whole frame."""


class Splitter:
    """Feed it bytes in any portions; it calls the handler for what is in them."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self._handler = handler
        self._limits = limits
        self._max_frame = limits.max_frame
        self._left = EVERY
        """Frames that may still be taken now."""
        self._partial = bytearray()
        self._end_stream = False
        self._empty = False
        self._padded = False
        self._in_data = False
        self._pad_length_due = False
        self._payload_left = 0
        self._padding_left = 0
        self._block: bytearray | None = None
        self._block_stream = 0
        self._block_end_stream = False
        self._continuations = 0

    @property
    def incomplete(self) -> bool:
        """Whether a frame other than DATA, or a header block, has begun and is not complete."""
        return bool(self._partial) or self._block is not None

    def feed(self, data: memoryview, most: int) -> int:
        """Take frames from `data`, at most `most`; how many bytes those were: all, or up to a frame's head.

        Raises:
            RemoteProtocolError: It breaks the rules of framing.
        """
        position, end = 0, len(data)
        self._left = most
        while True:
            if not self._in_data and not self._partial and self._block is None:
                position = self._feed_whole_data(data, position, end)
            if self._in_data:
                position = self._feed_data(data, position, end)
                if self._in_data:
                    return end
            if position == end or not self._left:
                return position
            if self._partial:
                position = self._complete(data, position, end)
            elif end - position < HEAD_BYTES:
                self._partial += data[position:]
                return end
            else:
                position = self._next(data, position, end)

    def _feed_whole_data(self, data: memoryview, position: int, end: int) -> int:
        """Take DATA frames for as long as they are whole and plain; anything else is for the others."""
        on_whole_data, max_frame, left = self._handler.on_whole_data, self._max_frame, self._left
        while left and end - position >= HEAD_BYTES:
            length, kind, flags, stream_id = parse_head(data, position)
            stop = position + HEAD_BYTES + length
            if kind or flags & PADDED or stop > end or length > max_frame or not stream_id:
                break
            on_whole_data(stream_id, data[position + HEAD_BYTES : stop], end_stream=bool(flags & END_STREAM))
            position = stop
            left -= 1
        self._left = left
        return position

    def _next(self, data: memoryview, position: int, end: int) -> int:
        """Take the frame that begins at `position`, whose head is there."""
        length, kind, flags, stream_id = self._checked_head(data, position)
        start = position + HEAD_BYTES
        if kind == FrameType.DATA:
            self._begin_data(length, flags, stream_id)
            return start
        if end - start < length:
            self._partial += data[position:]
            return end
        self._whole(kind, flags, stream_id, bytes(data[start : start + length]))
        return start + length

    def _complete(self, data: memoryview, position: int, end: int) -> int:
        """Add to the partial frame; take it when it is whole."""
        partial = self._partial
        if len(partial) < HEAD_BYTES:
            step = min(HEAD_BYTES - len(partial), end - position)
            partial += data[position : position + step]
            position += step
            if len(partial) < HEAD_BYTES:
                return position
        length, kind, flags, stream_id = self._checked_head(partial, 0)
        if kind == FrameType.DATA:
            partial.clear()
            self._begin_data(length, flags, stream_id)
            return position
        step = min(HEAD_BYTES + length - len(partial), end - position)
        partial += data[position : position + step]
        if len(partial) == HEAD_BYTES + length:
            payload = bytes(partial[HEAD_BYTES:])
            partial.clear()
            self._whole(kind, flags, stream_id, payload)
        return position + step

    def _checked_head(self, data: memoryview | bytearray, position: int) -> tuple[int, int, int, int]:
        length, kind, _, stream_id = head = parse_head(data, position)
        if length > self._limits.max_frame:
            raise RemoteProtocolError(
                f"frame of {length} bytes, at most {self._limits.max_frame}", ErrorCodes.FRAME_SIZE_ERROR
            )
        if self._block is not None and (kind != FrameType.CONTINUATION or stream_id != self._block_stream):
            # RFC 9113 6.2: nothing may come between a header block's frames.
            raise RemoteProtocolError(f"frame of type {kind} inside a header block")
        if kind != FrameType.DATA and length > self._limits.header_list + 256 + 6:
            # Held until it is whole, so bounded by what the largest header block needs.
            raise Flood("header bytes" if kind in _HEADER_TYPES else "frame bytes")
        return head

    def _begin_data(self, length: int, flags: int, stream_id: int) -> None:
        if not stream_id:
            raise RemoteProtocolError("DATA on stream 0")
        padded = bool(flags & PADDED)
        if padded and not length:
            raise RemoteProtocolError("padded DATA without a pad length", ErrorCodes.FRAME_SIZE_ERROR)
        self._in_data = True
        self._left -= 1
        self._end_stream = bool(flags & END_STREAM)
        self._empty = not length
        self._padded = self._pad_length_due = padded
        self._payload_left = length
        self._padding_left = 0
        self._handler.on_data_head(stream_id, length)

    def _feed_data(self, data: memoryview, position: int, end: int) -> int:
        if self._pad_length_due:
            if position == end:
                return position
            padding = data[position]
            position += 1
            self._pad_length_due = False
            self._payload_left -= 1 + padding
            if self._payload_left < 0:
                raise RemoteProtocolError("padding longer than its frame")  # RFC 9113 6.1
            self._empty = not self._payload_left
            self._padding_left = padding
            self._handler.on_padding(1 + padding)
        if self._payload_left:
            step = min(self._payload_left, end - position)
            if not step:
                return position
            self._handler.on_data(data[position : position + step])
            position += step
            self._payload_left -= step
        if self._padding_left:
            step = min(self._padding_left, end - position)
            position += step
            self._padding_left -= step
        if not self._payload_left and not self._padding_left:
            self._in_data = False
            self._handler.on_data_end(empty=self._empty, padded=self._padded, end_stream=self._end_stream)
        return position

    def _whole(self, kind: int, flags: int, stream_id: int, payload: bytes) -> None:
        self._left -= 1
        if kind == FrameType.HEADERS:
            self._begin_block(flags, stream_id, payload)
        elif kind == FrameType.CONTINUATION:
            self._continue_block(flags, payload)
        else:
            self._handler.on_frame(kind, flags, stream_id, payload)

    def _begin_block(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not stream_id:
            raise RemoteProtocolError("HEADERS on stream 0")
        start, stop = 0, len(payload)
        if flags & PADDED:
            if not payload:
                raise RemoteProtocolError("padded HEADERS without a pad length", ErrorCodes.FRAME_SIZE_ERROR)
            start, stop = 1, stop - payload[0]
        if flags & PRIORITY_FLAG:
            if stop - start < 5:
                raise RemoteProtocolError("HEADERS without its priority", ErrorCodes.FRAME_SIZE_ERROR)
            start += 5
        if start > stop:
            raise RemoteProtocolError("padding longer than its frame")
        block = payload[start:stop]
        end_stream = bool(flags & END_STREAM)
        if flags & END_HEADERS:
            self._handler.on_headers(stream_id, self._bounded(block), end_stream=end_stream)
            return
        self._block = bytearray(block)
        self._block_stream, self._block_end_stream, self._continuations = stream_id, end_stream, 0

    def _continue_block(self, flags: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise RemoteProtocolError("CONTINUATION without HEADERS")
        self._continuations += 1
        if self._continuations > self._limits.continuations:
            raise Flood("CONTINUATION")
        block += payload
        self._bounded(block)
        if flags & END_HEADERS:
            self._block = None
            self._handler.on_headers(self._block_stream, bytes(block), end_stream=self._block_end_stream)

    def _bounded(self, block: bytes | bytearray) -> bytes:
        if len(block) > self._limits.header_list:
            raise Flood("header bytes")
        return bytes(block)
