"""Chapter 6: each type of frame."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes

from proxy.hbone import frames
from proxy.hbone.frames import END_HEADERS, END_STREAM, MAX_WINDOW, PADDED, FrameType
from proxy.tests.wire.cases import CONNECTED, LIVES, Dies, Lives, cases, verify
from proxy.tests.wire.peer import Peer, block, data, head
from proxy.tests.wire.running import Running

pytestmark = pytest.mark.netns

BROKEN = Dies(ErrorCodes.PROTOCOL_ERROR)
WRONG_SIZE = Dies(ErrorCodes.FRAME_SIZE_ERROR)
OVERFLOW = Dies(ErrorCodes.FLOW_CONTROL_ERROR)
OPEN_BLOCK = frames.frame(FrameType.HEADERS, 0, 1, block())
INITIAL_WINDOW, MAX_FRAME = 4, 5
PADDED_HEAD = END_HEADERS | PADDED


def continuation(flags: int = END_HEADERS, stream_id: int = 1, payload: bytes = b"") -> bytes:
    """CONTINUATION."""
    return frames.frame(FrameType.CONTINUATION, flags, stream_id, payload)


@cases(
    ("on stream 0", data(0, b"x"), BROKEN),
    ("half closed", head(1, end_stream=True) + data(1, b"x"), Lives(resets={1: ErrorCodes.STREAM_CLOSED})),
    ("more padding than frame", head(1) + data(1, b"\x06hello", PADDED), BROKEN),
    ("padded and empty", head(1) + data(1, b"", PADDED), WRONG_SIZE),
)
def test_data(server: Running, sent: bytes, expected: Lives | Dies) -> None:
    """http2/6.1."""
    verify(server, sent, expected)


@cases(
    ("PRIORITY before its end", OPEN_BLOCK + frames.frame(FrameType.PRIORITY, 0, 1, bytes(5)), BROKEN),
    ("HEADERS of another stream before its end", OPEN_BLOCK + head(3), BROKEN),
    ("on stream 0", head(0), BROKEN),
    ("more padding than frame", frames.frame(FrameType.HEADERS, PADDED_HEAD, 1, b"\xff" + block()), BROKEN),
    ("padded and empty", frames.frame(FrameType.HEADERS, PADDED_HEAD, 1, b""), WRONG_SIZE),
)
def test_headers(server: Running, sent: bytes, expected: Dies) -> None:
    """http2/6.2."""
    verify(server, sent, expected)


@cases(
    ("on stream 0", frames.frame(FrameType.PRIORITY, 0, 0, bytes(5)), BROKEN),
    # A stream error by the RFC; of a stream that may be idle, which cannot be reset, so the connection's.
    ("of another length", frames.frame(FrameType.PRIORITY, 0, 1, bytes(4)), WRONG_SIZE),
)
def test_priority(server: Running, sent: bytes, expected: Dies) -> None:
    """http2/6.3."""
    verify(server, sent, expected)


@cases(
    ("on stream 0", frames.rst_stream(0, ErrorCodes.CANCEL), BROKEN),
    ("on an idle stream", frames.rst_stream(1, ErrorCodes.CANCEL), BROKEN),
    ("of another length", head(1) + frames.frame(FrameType.RST_STREAM, 0, 1, bytes(3)), WRONG_SIZE),
)
def test_rst_stream(server: Running, sent: bytes, expected: Dies) -> None:
    """http2/6.4."""
    verify(server, sent, expected)


@cases(
    ("ACK with a payload", frames.frame(FrameType.SETTINGS, frames.ACK, 0, bytes(6)), WRONG_SIZE),
    ("on a stream", frames.frame(FrameType.SETTINGS, 0, 1, b""), BROKEN),
    ("no multiple of six", frames.frame(FrameType.SETTINGS, 0, 0, bytes(3)), WRONG_SIZE),
)
def test_settings(server: Running, sent: bytes, expected: Dies) -> None:
    """http2/6.5."""
    verify(server, sent, expected)


@cases(
    ("push of 2", frames.settings([(2, 2)]), BROKEN),
    ("window over 2^31-1", frames.settings([(INITIAL_WINDOW, 2**31)]), OVERFLOW),
    ("frames below 2^14", frames.settings([(MAX_FRAME, 2**14 - 1)]), BROKEN),
    ("frames over 2^24-1", frames.settings([(MAX_FRAME, 2**24)]), BROKEN),
    ("unknown", frames.settings([(0xFF, 1)]), LIVES),
    # Not of h2spec: RFC 8441 3.
    ("connect protocol of 2", frames.settings([(8, 2)]), BROKEN),
)
def test_defined_settings(server: Running, sent: bytes, expected: Lives | Dies) -> None:
    """http2/6.5.2."""
    verify(server, sent, expected)


def test_settings_are_applied_in_order(server: Running) -> None:
    """http2/6.5.3: the last value of a setting holds, and each frame is acknowledged once."""
    with Peer.connect(server) as peer:
        peer.send(frames.settings([(INITIAL_WINDOW, 100), (INITIAL_WINDOW, 1)]))
        peer.read_until(lambda p: p.acknowledged == 2)
        peer.send(head(1) + data(1, b"xyz"))
        peer.read_until(lambda p: p.payload)
        assert peer.alive()

        assert peer.payload == {1: b"x"}
        assert peer.acknowledged == 2


@cases(
    ("of another length", frames.frame(FrameType.PING, 0, 0, bytes(6)), WRONG_SIZE),
    ("on a stream", frames.frame(FrameType.PING, 0, 1, bytes(8)), BROKEN),
    ("ACK of a PING that nobody sent", frames.ping(b"invalid!", ack=True), LIVES),
)
def test_ping(server: Running, sent: bytes, expected: Lives | Dies) -> None:
    """http2/6.7: an ACK is not answered."""
    verify(server, sent, expected)


@cases(
    ("on a stream", frames.frame(FrameType.GOAWAY, 0, 1, bytes(8)), BROKEN),
    ("too short", frames.frame(FrameType.GOAWAY, 0, 0, bytes(7)), WRONG_SIZE),
)
def test_goaway(server: Running, sent: bytes, expected: Dies) -> None:
    """http2/6.8."""
    verify(server, sent, expected)


@cases(
    ("by 0", frames.window_update(0, 0), BROKEN),
    ("by 0 on a stream", head(1) + frames.window_update(1, 0), Lives(resets={1: ErrorCodes.PROTOCOL_ERROR})),
    ("of another length", frames.frame(FrameType.WINDOW_UPDATE, 0, 0, bytes(3)), WRONG_SIZE),
)
def test_window_update(server: Running, sent: bytes, expected: Lives | Dies) -> None:
    """http2/6.9, T02."""
    verify(server, sent, expected)


def test_window_of_one_byte(server: Running) -> None:
    """http2/6.9.1: one byte at a time, in frames that fit."""
    with Peer.connect(server) as peer:
        peer.send(frames.settings([(INITIAL_WINDOW, 1)]) + head(1) + data(1, b"xyz"))
        peer.read_until(lambda p: p.payload.get(1) == b"x")
        assert peer.alive()
        assert peer.payload == {1: b"x"}
        peer.send(frames.window_update(1, 1))
        peer.read_until(lambda p: len(p.payload[1]) > 1)

        assert peer.payload == {1: b"xy"}


@cases(
    ("the connection's", frames.window_update(0, MAX_WINDOW) * 2, OVERFLOW),
    (
        "a stream's",
        head(1) + frames.window_update(1, MAX_WINDOW) * 2,
        Lives(resets={1: ErrorCodes.FLOW_CONTROL_ERROR}),
    ),
)
def test_windows_over_their_maximum(server: Running, sent: bytes, expected: Lives | Dies) -> None:
    """http2/6.9.1, T02."""
    verify(server, sent, expected)


def test_initial_window_changes_under_a_stream(server: Running) -> None:
    """http2/6.9.2: grown from 0, data flows; shrunk below what was sent, it has to recover."""
    with Peer.connect(server) as peer:
        peer.send(frames.settings([(INITIAL_WINDOW, 0)]) + head(1) + data(1, b"abcdefghij"))
        peer.read_until(lambda p: p.statuses)
        assert peer.alive()
        assert peer.payload == {}
        peer.send(frames.settings([(INITIAL_WINDOW, 3)]))
        peer.read_until(lambda p: p.payload.get(1) == b"abc")
        peer.send(frames.settings([(INITIAL_WINDOW, 1)]) + frames.window_update(1, 2))
        assert peer.alive()
        assert peer.payload == {1: b"abc"}
        peer.send(frames.window_update(1, 1))
        peer.read_until(lambda p: len(p.payload[1]) > 3)

        assert peer.payload == {1: b"abcd"}


@cases(("over 2^31-1", frames.settings([(INITIAL_WINDOW, 2**31)]), OVERFLOW))
def test_initial_window(server: Running, sent: bytes, expected: Dies) -> None:
    """http2/6.9.2."""
    verify(server, sent, expected)


@cases(
    ("several", OPEN_BLOCK + continuation(0) + continuation(), CONNECTED),
    ("followed by DATA", OPEN_BLOCK + continuation(0) + data(1, b"x"), BROKEN),
    ("on stream 0", OPEN_BLOCK + continuation(stream_id=0), BROKEN),
    ("after HEADERS that were complete", head(1) + continuation(), BROKEN),
    ("after a CONTINUATION that was the last", OPEN_BLOCK + continuation() * 2, BROKEN),
    ("after DATA", head(1) + data(1, b"x", END_STREAM) + continuation(), BROKEN),
)
def test_continuation(server: Running, sent: bytes, expected: Lives | Dies) -> None:
    """http2/6.10."""
    verify(server, sent, expected)
