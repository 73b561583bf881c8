"""Chapter 4: frames."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes

from proxy.hbone import frames
from proxy.hbone.frames import END_HEADERS, END_STREAM, FrameType
from proxy.tests.wire.cases import CONNECTED, LIVES, Dies, Lives, cases, verify
from proxy.tests.wire.peer import Peer, block, data, head
from proxy.tests.wire.running import Running

pytestmark = pytest.mark.netns

OPEN_BLOCK = frames.frame(FrameType.HEADERS, 0, 1, block())
ANNOUNCED = 1 << 20
"""SETTINGS_MAX_FRAME_SIZE as this proxy sets it by default, ztunnel's."""


@cases(
    ("unknown type", frames.frame(0x16, 0, 0, b"12345678"), LIVES),
    ("undefined flags", frames.frame(FrameType.PING, 0x16, 0, b"12345678"), LIVES),
    ("reserved bit", frames.frame(FrameType.PING, 0, 1 << 31, b"12345678"), LIVES),
)
def test_what_means_nothing_is_ignored(server: Running, sent: bytes, expected: Lives) -> None:
    """http2/4.1."""
    verify(server, sent, expected)


@pytest.mark.parametrize("size", [1 << 14, 60_000])
def test_large_frames_are_taken(server: Running, size: int) -> None:
    """http2/4.2: 2^14 octets, and more where more is announced."""
    with Peer.connect(server) as peer:
        peer.send(head(1) + data(1, b"x" * size, END_STREAM))
        peer.send(frames.window_update(0, 1 << 20) + frames.window_update(1, 1 << 20))
        peer.read_until(lambda p: 1 in p.ended)

        assert peer.payload == {1: b"x" * size}


@cases(
    # h2spec asks for a stream error at least; RFC 9113 4.2 lets a receiver end the connection.
    (
        "DATA",
        head(1) + frames.head(ANNOUNCED + 1, FrameType.DATA, 0, 1),
        Dies(ErrorCodes.FRAME_SIZE_ERROR),
    ),
    (
        "HEADERS",
        frames.head(ANNOUNCED + 1, FrameType.HEADERS, END_HEADERS, 1),
        Dies(ErrorCodes.FRAME_SIZE_ERROR),
    ),
    # Within the announced size, and more than any header block may have (T03).
    (
        "HEADERS over our limit of header bytes",
        frames.head(100_000, FrameType.HEADERS, END_HEADERS, 1),
        Dies(ErrorCodes.ENHANCE_YOUR_CALM),
    ),
)
def test_frames_over_the_limit(server: Running, sent: bytes, expected: Dies) -> None:
    """http2/4.2, T03."""
    verify(server, sent, expected)


@cases(
    (
        "a block that is none",
        frames.frame(FrameType.HEADERS, END_HEADERS, 1, b"\xff\xff\xff\xff\xff"),
        Dies(ErrorCodes.COMPRESSION_ERROR),
    ),
    (
        "PRIORITY inside a block",
        OPEN_BLOCK + frames.frame(FrameType.PRIORITY, 0, 1, bytes(5)),
        Dies(ErrorCodes.PROTOCOL_ERROR),
    ),
    ("HEADERS of another stream inside a block", OPEN_BLOCK + head(3), Dies(ErrorCodes.PROTOCOL_ERROR)),
)
def test_header_blocks(server: Running, sent: bytes, expected: Dies) -> None:
    """http2/4.3."""
    verify(server, sent, expected)


def test_block_that_comes_in_order_is_taken(server: Running) -> None:
    """http2/4.3, the other way round."""
    verify(server, OPEN_BLOCK + frames.frame(FrameType.CONTINUATION, END_HEADERS, 1, b""), CONNECTED)
