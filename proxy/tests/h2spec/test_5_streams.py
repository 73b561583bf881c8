"""Chapter 5: streams and multiplexing."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from proxy.hbone import frames
from proxy.hbone.frames import END_HEADERS, END_STREAM, PRIORITY_FLAG, FrameType
from proxy.tests.wire.cases import CONNECTED, LIVES, Dies, Lives, cases, verify
from proxy.tests.wire.peer import Peer, block, data, head
from proxy.tests.wire.running import Running

pytestmark = pytest.mark.netns

BROKEN = Dies(ErrorCodes.PROTOCOL_ERROR)
GONE = Dies(ErrorCodes.STREAM_CLOSED)
STREAM_GONE = Lives(resets={1: ErrorCodes.STREAM_CLOSED})
CONTINUATION = frames.frame(FrameType.CONTINUATION, END_HEADERS, 1, block())
HALF_CLOSED = head(1, end_stream=True)
RESET = head(1) + frames.rst_stream(1, ErrorCodes.CANCEL)


@cases(
    ("DATA", data(1, b"x"), BROKEN),
    ("RST_STREAM", frames.rst_stream(1, ErrorCodes.CANCEL), BROKEN),
    ("WINDOW_UPDATE", frames.window_update(1, 100), BROKEN),
    ("CONTINUATION", CONTINUATION, BROKEN),
)
def test_idle(server: Running, sent: bytes, expected: Dies) -> None:
    """http2/5.1."""
    verify(server, sent, expected)


@cases(
    ("DATA", HALF_CLOSED + data(1, b"x"), STREAM_GONE),
    ("HEADERS", HALF_CLOSED + head(1), STREAM_GONE),
    ("CONTINUATION", HALF_CLOSED + CONTINUATION, BROKEN),
)
def test_half_closed_by_the_peer(server: Running, sent: bytes, expected: Lives | Dies) -> None:
    """http2/5.1, T02: each is a reset that we are made to send, and counts."""
    verify(server, sent, expected)


@cases(
    ("DATA", RESET + data(1, b"x"), STREAM_GONE),
    # 7540 asked for a stream error; a stream that is closed by its own opener cannot be reopened.
    ("HEADERS", RESET + head(1), GONE),
    ("CONTINUATION", RESET + CONTINUATION, BROKEN),
)
def test_closed_by_a_reset(server: Running, sent: bytes, expected: Lives | Dies) -> None:
    """http2/5.1."""
    verify(server, sent, expected)


@cases(
    ("DATA", data(1, b"x"), STREAM_GONE),
    ("HEADERS", head(1), GONE),
    ("CONTINUATION", CONTINUATION, BROKEN),
)
def test_closed_by_both_ends(server: Running, sent: bytes, expected: Lives | Dies) -> None:
    """http2/5.1: DATA is answered on its stream, where a connection error was allowed as well."""
    with Peer.connect(server) as peer:
        peer.send(head(1) + data(1, b"x", END_STREAM))
        peer.read_until(lambda p: 1 in p.ended)
        peer.send(sent)
        if isinstance(expected, Dies):
            peer.read_until(lambda p: p.closed)

            assert expected.code == peer.goaway
        else:
            assert peer.alive()
            assert dict(expected.resets) == peer.resets


@cases(
    ("an even one", head(2), BROKEN),
    # RFC 9113 5.1.1 says PROTOCOL_ERROR of what was never open; it also says that 5 closed it, which is
    # all that is remembered.
    ("a lower one", head(5) + head(3), GONE),
)
def test_stream_identifiers(server: Running, sent: bytes, expected: Dies) -> None:
    """http2/5.1.1."""
    verify(server, sent, expected)


def test_stream_over_the_limit(server: Running) -> None:
    """http2/5.1.2, T14: refused alone; where one has ended, one is taken."""
    with Peer.connect(server) as peer:
        peer.read_until(lambda p: p.settings is not None)
        limit = dict(peer.settings or [])[SettingCodes.MAX_CONCURRENT_STREAMS]
        ids = [2 * number + 1 for number in range(limit + 1)]
        peer.send(b"".join(head(stream_id) for stream_id in ids))
        peer.read_until(lambda p: p.resets and len(p.statuses) == limit)
        assert peer.resets == {ids[-1]: ErrorCodes.REFUSED_STREAM}
        peer.send(frames.rst_stream(1, ErrorCodes.CANCEL) + head(ids[-1] + 2))
        peer.read_until(lambda p: ids[-1] + 2 in p.statuses)

        assert set(peer.statuses.values()) == {200}
        assert peer.alive()


@cases(
    # Priorities have no meaning (RFC 9113 5.3.2), so no dependency of theirs is an error; h2spec expects one.
    (
        "HEADERS that depend on themselves",
        frames.frame(FrameType.HEADERS, END_HEADERS | PRIORITY_FLAG, 1, b"\0\0\0\1\xff" + block()),
        CONNECTED,
    ),
    ("PRIORITY that depends on itself", frames.frame(FrameType.PRIORITY, 0, 1, b"\0\0\0\1\xff"), LIVES),
)
def test_dependencies(server: Running, sent: bytes, expected: Lives) -> None:
    """http2/5.3.1."""
    verify(server, sent, expected)


@cases(
    ("a PING on a stream", frames.frame(FrameType.PING, 0, 3, b"12345678"), BROKEN),
)
def test_connection_error_is_a_goaway_and_then_the_end(server: Running, sent: bytes, expected: Dies) -> None:
    """http2/5.4.1."""
    verify(server, sent, expected)


@cases(
    ("by itself", frames.frame(0x16, 0, 0, b"12345678"), LIVES),
    (
        "inside a header block",
        frames.frame(FrameType.HEADERS, 0, 1, block()) + frames.frame(0x16, 0, 0, b"12345678"),
        BROKEN,
    ),
)
def test_unknown_frames(server: Running, sent: bytes, expected: Lives | Dies) -> None:
    """http2/5.5."""
    verify(server, sent, expected)
