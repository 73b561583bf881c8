"""Chapter 8: messages, where a CONNECT has rules of its own."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes

from proxy.hbone import frames
from proxy.hbone.events import Header
from proxy.hbone.frames import END_HEADERS, END_STREAM, FrameType
from proxy.tests.wire.cases import Dies, Lives, cases, verify
from proxy.tests.wire.peer import CONNECT, Peer, data, head
from proxy.tests.wire.running import AUTHORITY, Running

pytestmark = pytest.mark.netns

MALFORMED = Lives(resets={1: ErrorCodes.PROTOCOL_ERROR})
METHOD, TARGET = (b":method", b"CONNECT"), (b":authority", AUTHORITY.encode())
GET = [(b":method", b"GET"), (b":scheme", b"https"), (b":path", b"/"), TARGET]


def without(name: bytes) -> list[Header]:
    """A GET with a pseudo-header missing."""
    return [field for field in GET if field[0] != name]


@pytest.mark.parametrize("end_stream", [False, True], ids=["open", "as trailers"])
def test_second_head(server: Running, end_stream: bool) -> None:
    """http2/8.1, T19: on a tunnel there are no trailers (RFC 9113 8.5); the app sees a reset, not an end."""
    with Peer.connect(server) as peer:
        peer.send(head(1))
        peer.read_until(lambda p: p.statuses)
        peer.send(head(1, [(b"x-late", b"1")], end_stream=end_stream))
        peer.read_until(lambda p: p.resets)

        assert peer.resets == {1: ErrorCodes.PROTOCOL_ERROR}
        assert peer.alive()


@cases(("a name in upper case", head(1, [*CONNECT, (b"X-Test", b"1")]), MALFORMED))
def test_fields(server: Running, sent: bytes, expected: Lives) -> None:
    """http2/8.1.2, T21."""
    verify(server, sent, expected)


@cases(
    ("unknown", head(1, [(b":test", b"1"), *CONNECT]), MALFORMED),
    ("of an answer", head(1, [(b":status", b"200"), *CONNECT]), MALFORMED),
    ("in trailers", head(1) + head(1, [METHOD], end_stream=True), MALFORMED),
    ("behind an ordinary field", head(1, [(b"x-test", b"1"), *CONNECT]), MALFORMED),
)
def test_pseudo_headers(server: Running, sent: bytes, expected: Lives) -> None:
    """http2/8.1.2.1."""
    verify(server, sent, expected)


@cases(
    ("connection", head(1, [*CONNECT, (b"connection", b"keep-alive")]), MALFORMED),
    ("te other than trailers", head(1, [*CONNECT, (b"te", b"trailers, deflate")]), MALFORMED),
)
def test_connection_specific_fields(server: Running, sent: bytes, expected: Lives) -> None:
    """http2/8.1.2.2."""
    verify(server, sent, expected)


@cases(
    # Of CONNECT the opposite is true: it must not have them (RFC 9113 8.5).
    (":path on CONNECT", head(1, [METHOD, (b":path", b"/"), TARGET]), MALFORMED),
    (":scheme and :path on CONNECT", head(1, [METHOD, *GET[1:]]), MALFORMED),
    (":path empty", head(1, [*without(b":path"), (b":path", b"")]), MALFORMED),
    ("no :method", head(1, without(b":method")), MALFORMED),
    ("no :scheme", head(1, without(b":scheme")), MALFORMED),
    ("no :path", head(1, without(b":path")), MALFORMED),
    ("no :authority on CONNECT", head(1, [METHOD]), MALFORMED),
    (":method twice", head(1, [METHOD, METHOD, TARGET]), MALFORMED),
    (":scheme twice", head(1, [GET[1], *GET]), MALFORMED),
    (":path twice", head(1, [GET[2], *GET]), MALFORMED),
    (":authority twice", head(1, [METHOD, TARGET, TARGET]), MALFORMED),
    ("Host that differs", head(1, [METHOD, TARGET, (b"host", b"elsewhere:80")]), MALFORMED),
)
def test_request_pseudo_headers(server: Running, sent: bytes, expected: Lives) -> None:
    """http2/8.1.2.3, B51, B61, B63."""
    verify(server, sent, expected)


LENGTH = [*CONNECT, (b"content-length", b"1")]


@cases(
    # h2spec wants a reset; a CONNECT has no body to measure (RFC 9110 9.3.6), so 400.
    ("DATA of another length", head(1, LENGTH) + data(1, b"test", END_STREAM), Lives(statuses={1: 400})),
    (
        "the sum of several DATA frames of another length",
        head(1, LENGTH) + data(1, b"te") + data(1, b"st", END_STREAM),
        Lives(statuses={1: 400}),
    ),
)
def test_content_length(server: Running, sent: bytes, expected: Lives) -> None:
    """http2/8.1.2.6, T20, B64."""
    verify(server, sent, expected)


@cases(
    (
        "PUSH_PROMISE",
        head(1) + frames.frame(FrameType.PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2"),
        Dies(ErrorCodes.PROTOCOL_ERROR),
    ),
)
def test_push(server: Running, sent: bytes, expected: Dies) -> None:
    """http2/8.2."""
    verify(server, sent, expected)
