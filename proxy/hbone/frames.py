"""HTTP/2 frames as bytes. Source: RFC 9113 sections 4 and 6."""

from __future__ import annotations

import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEAD_BYTES = 9
"""A frame's head: length (24 bits), type, flags, stream id (31 bits)."""

DEFAULT_MAX_FRAME = 16_384
"""What every peer accepts before its SETTINGS (RFC 9113 6.5.2)."""
MAX_MAX_FRAME = 2**24 - 1
DEFAULT_WINDOW = 65_535
MAX_WINDOW = 2**31 - 1
MAX_STREAM_ID = 2**31 - 1

END_STREAM = 0x1
ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITY_FLAG = 0x20


class FrameType(IntEnum):
    """RFC 9113 section 6. Types above CONTINUATION are extensions and are ignored."""

    DATA = 0
    HEADERS = 1
    PRIORITY = 2
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


_HEAD = struct.Struct(">HBBBL")
_unpack_head = _HEAD.unpack_from
_pack_head_into = _HEAD.pack_into
_LONG = struct.Struct(">L")
_SETTING = struct.Struct(">HL")


def head(length: int, kind: int, flags: int, stream_id: int) -> bytes:
    """The 9 bytes in front of a payload."""
    return _HEAD.pack(length >> 8, length & 0xFF, kind, flags, stream_id)


def head_into(buffer: bytearray | memoryview, length: int, kind: int, flags: int, stream_id: int) -> None:
    """Write a frame's head into the first 9 bytes of `buffer`."""
    _pack_head_into(buffer, 0, length >> 8, length & 0xFF, kind, flags, stream_id)


def parse_head(buffer: memoryview | bytes | bytearray, offset: int) -> tuple[int, int, int, int]:
    """(length, type, flags, stream id) of the head at `offset`; the reserved bit is ignored."""
    high, low, kind, flags, stream_id = _unpack_head(buffer, offset)
    return high << 8 | low, kind, flags, stream_id & MAX_STREAM_ID


def frame(kind: int, flags: int, stream_id: int, payload: bytes | bytearray) -> bytes:
    """A whole frame."""
    return head(len(payload), kind, flags, stream_id) + payload


def window_update(stream_id: int, increment: int) -> bytes:
    """WINDOW_UPDATE; stream 0 is the connection."""
    return head(4, FrameType.WINDOW_UPDATE, 0, stream_id) + _LONG.pack(increment)


def ping(opaque: bytes, *, ack: bool) -> bytes:
    """PING with 8 opaque bytes."""
    return head(8, FrameType.PING, ACK if ack else 0, 0) + opaque


def goaway(last_stream_id: int, code: int) -> bytes:
    """GOAWAY without debug data."""
    return head(8, FrameType.GOAWAY, 0, 0) + _LONG.pack(last_stream_id) + _LONG.pack(code)


def rst_stream(stream_id: int, code: int) -> bytes:
    """RST_STREAM."""
    return head(4, FrameType.RST_STREAM, 0, stream_id) + _LONG.pack(code)


def settings(values: list[tuple[int, int]]) -> bytes:
    """SETTINGS with these entries, in this order."""
    return frame(FrameType.SETTINGS, 0, 0, b"".join(_SETTING.pack(key, value) for key, value in values))


SETTINGS_ACK = head(0, FrameType.SETTINGS, ACK, 0)
"""That a peer's SETTINGS are in force."""


def parse_settings(payload: bytes | bytearray) -> list[tuple[int, int]]:
    """The entries of a SETTINGS payload, whose length is a multiple of 6."""
    return list(_SETTING.iter_unpack(payload))


def parse_long(payload: bytes | bytearray | memoryview, offset: int = 0) -> int:
    """An unsigned 32-bit number."""
    value: int = _LONG.unpack_from(payload, offset)[0]
    return value


def headers(stream_id: int, block: bytes, *, end_stream: bool) -> bytes:
    """A head: one frame, and more where every peer's smallest frame size asks for it."""
    flags = END_STREAM if end_stream else 0
    if len(block) <= DEFAULT_MAX_FRAME:
        return frame(FrameType.HEADERS, flags | END_HEADERS, stream_id, block)
    first, *middle, last = (
        block[start : start + DEFAULT_MAX_FRAME] for start in range(0, len(block), DEFAULT_MAX_FRAME)
    )
    made = frame(FrameType.HEADERS, flags, stream_id, first)
    made += b"".join(frame(FrameType.CONTINUATION, 0, stream_id, part) for part in middle)
    return made + frame(FrameType.CONTINUATION, END_HEADERS, stream_id, last)


def end_stream(stream_id: int) -> bytes:
    """The empty DATA frame by which a stream ends."""
    return head(0, FrameType.DATA, END_STREAM, stream_id)
