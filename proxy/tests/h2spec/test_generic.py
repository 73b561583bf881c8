"""h2spec's part "generic": what every server has to take."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from hpack import Encoder

from proxy.hbone import frames
from proxy.hbone.events import Header
from proxy.hbone.frames import END_HEADERS, END_STREAM, PADDED, PRIORITY_FLAG, FrameType
from proxy.tests.wire.cases import CONNECTED, LIVES, Lives, cases, verify
from proxy.tests.wire.peer import CONNECT, OPENING, Peer, block, data, head
from proxy.tests.wire.running import AUTHORITY, Running

pytestmark = pytest.mark.netns

BLOCK = block()
HALF_CLOSED = head(1, end_stream=True)


def priority(stream_id: int, depends_on: int = 0, weight: int = 0, *, exclusive: bool = False) -> bytes:
    """PRIORITY; RFC 9113 5.3.2 keeps its form and drops its meaning."""
    payload = (depends_on | exclusive << 31).to_bytes(4) + bytes([weight])
    return frames.frame(FrameType.PRIORITY, 0, stream_id, payload)


def headers(payload: bytes, flags: int = END_HEADERS, stream_id: int = 1) -> bytes:
    """HEADERS with any payload."""
    return frames.frame(FrameType.HEADERS, flags, stream_id, payload)


def test_preface_is_answered_by_settings(server: Running) -> None:
    """generic/1: and ours are acknowledged."""
    with Peer.connect(server) as peer:
        peer.read_until(lambda p: p.settings is not None and p.acknowledged)

        assert peer.kinds[0] == FrameType.SETTINGS
        assert peer.alive()


@cases(
    ("PRIORITY on an idle stream", priority(1) + head(1), CONNECTED),
    (
        "WINDOW_UPDATE on a half-closed stream",
        head(1, end_stream=True) + frames.window_update(1, 100),
        CONNECTED,
    ),
    ("PRIORITY on a half-closed stream", HALF_CLOSED + priority(1), CONNECTED),
    ("RST_STREAM on a half-closed stream", HALF_CLOSED + frames.rst_stream(1, 8), LIVES),
    ("PRIORITY on a closed stream", head(1) + frames.rst_stream(1, 8) + priority(1), LIVES),
)
def test_streams_and_multiplexing(server: Running, sent: bytes, expected: Lives) -> None:
    """generic/2."""
    verify(server, sent, expected)


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("padding", [None, 0, 255])
def test_data_reaches_the_app(server: Running, count: int, padding: int | None) -> None:
    """generic/3.1: one frame, several, padded ones."""
    if padding is None:
        frame = data(1, b"hello")
    else:
        frame = data(1, bytes([padding]) + b"hello" + bytes(padding), PADDED)
    with Peer.connect(server) as peer:
        peer.send(head(1) + frame * count + data(1, b"", END_STREAM))
        peer.read_until(lambda p: 1 in p.ended)

        assert peer.payload == {1: b"hello" * count}
        assert peer.alive()


@cases(
    ("HEADERS", head(1), CONNECTED),
    ("HEADERS with padding", headers(b"\x05" + BLOCK + bytes(5), END_HEADERS | PADDED), CONNECTED),
    ("HEADERS with priority", headers(b"\0\0\0\0\xff" + BLOCK, END_HEADERS | PRIORITY_FLAG), CONNECTED),
)
def test_headers(server: Running, sent: bytes, expected: Lives) -> None:
    """generic/3.2."""
    verify(server, sent, expected)


@cases(
    ("weight 1", priority(1, weight=0) + head(1), CONNECTED),
    ("weight 256", priority(1, weight=255) + head(1), CONNECTED),
    ("dependency", priority(3, depends_on=1) + head(1), CONNECTED),
    ("exclusive", priority(3, depends_on=1, exclusive=True) + head(1), CONNECTED),
    ("for an idle stream, then HEADERS on a lower one", priority(5) + head(3), Lives(statuses={3: 200})),
)
def test_priority(server: Running, sent: bytes, expected: Lives) -> None:
    """generic/3.3."""
    verify(server, sent, expected)


@cases(
    ("RST_STREAM", head(1) + frames.rst_stream(1, ErrorCodes.CANCEL), LIVES),
)
def test_rst_stream(server: Running, sent: bytes, expected: Lives) -> None:
    """generic/3.4."""
    verify(server, sent, expected)


def test_settings_are_acknowledged(server: Running) -> None:
    """generic/3.5."""
    with Peer.connect(server) as peer:
        peer.send(frames.settings([(1, 100), (3, 10)]))
        peer.read_until(lambda p: p.acknowledged == 2)

        assert peer.alive()


def test_ping_is_answered_with_what_it_brought(server: Running) -> None:
    """generic/3.7, http2/6.7."""
    with Peer.connect(server) as peer:
        peer.send(frames.ping(b"h2spec\0\xff", ack=False))
        peer.read_until(lambda p: p.pongs)

        assert peer.pongs == [b"h2spec\0\xff"]


def test_goaway_lets_streams_finish(server: Running) -> None:
    """generic/3.8, T23: more than h2spec asks: what lives goes on, and then the connection ends in order."""
    with Peer.connect(server) as peer:
        peer.send(head(1))
        peer.read_until(lambda p: p.statuses)
        peer.send(frames.goaway(0, ErrorCodes.NO_ERROR))
        assert peer.echo(1, b"late")
        peer.send(data(1, b"", END_STREAM))
        peer.read_until(lambda p: p.closed)

        assert peer.ended == {1}
        assert peer.goaway == ErrorCodes.NO_ERROR


@cases(
    ("for the connection", frames.window_update(0, 1) + head(1), CONNECTED),
    ("for a stream", head(1) + frames.window_update(1, 1), CONNECTED),
)
def test_window_update(server: Running, sent: bytes, expected: Lives) -> None:
    """generic/3.9."""
    verify(server, sent, expected)


def split(parts: int) -> bytes:
    """The CONNECT's block in HEADERS and `parts` CONTINUATIONs."""
    step = len(BLOCK) // (parts + 1)
    pieces = [BLOCK[n * step : (n + 1) * step if n < parts else None] for n in range(parts + 1)]
    kinds = [FrameType.HEADERS] + [FrameType.CONTINUATION] * parts
    return b"".join(
        frames.frame(kind, END_HEADERS if n == parts else 0, 1, piece)
        for n, (kind, piece) in enumerate(zip(kinds, pieces, strict=True))
    )


@cases(("one", split(1), CONNECTED), ("several", split(4), CONNECTED))
def test_continuation(server: Running, sent: bytes, expected: Lives) -> None:
    """generic/3.10, http2/6.10."""
    verify(server, sent, expected)


def request(method: bytes) -> list[Header]:
    """What an ordinary server would serve."""
    return [
        (b":method", method),
        (b":scheme", b"https"),
        (b":path", b"/"),
        (b":authority", AUTHORITY.encode()),
    ]


REFUSED = Lives(statuses={1: 400})
HALF_REFUSED = Lives(statuses={1: 400}, resets={1: ErrorCodes.NO_ERROR})
"""The answer is complete, so the rest of the request is not wanted: RFC 9113 8.1."""


@cases(
    ("GET", head(1, request(b"GET"), end_stream=True), REFUSED),
    ("HEAD", head(1, request(b"HEAD"), end_stream=True), REFUSED),
    ("POST", head(1, request(b"POST")) + data(1, b"x", END_STREAM), REFUSED),
    (
        "POST with trailers",  # in one read: the request is taken back before anyone answers
        head(1, request(b"POST")) + data(1, b"x") + head(1, [(b"x", b"1")], end_stream=True),
        Lives(resets={1: ErrorCodes.PROTOCOL_ERROR}),
    ),
    ("extended CONNECT", head(1, [(b":protocol", b"websocket"), *request(b"CONNECT")]), HALF_REFUSED),
)
def test_other_methods_are_answered_400(server: Running, sent: bytes, expected: Lives) -> None:
    """generic/4, T17, B50, B62: a server of CONNECT alone; the connection lives."""
    verify(server, sent, expected)


def literal(name: bytes, value: bytes, *, first: int, huffman: bool) -> bytes:
    """A literal field with a name of its own. `first`: 0x40 indexed, 0x00 not, 0x10 never."""
    return bytes([first]) + string(name, huffman=huffman) + string(value, huffman=huffman)


def string(text: bytes, *, huffman: bool) -> bytes:
    """RFC 7541 5.2, shorter than 127 bytes."""
    coded = Encoder().huffman_coder.encode(text) if huffman else text
    return bytes([len(coded) | huffman << 7]) + coded


def authority(first: int, *, huffman: bool) -> bytes:
    """`:authority`, entry 1 of the static table, with our value."""
    return bytes([first | 1]) + string(AUTHORITY.encode(), huffman=huffman)


METHOD = literal(b":method", b"CONNECT", first=0, huffman=False)
FORMS = {"with incremental indexing": 0x40, "without indexing": 0x00, "never indexed": 0x10}


@pytest.mark.parametrize("huffman", [False, True], ids=["plain", "huffman"])
@pytest.mark.parametrize("first", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("name", ["indexed name", "new name"])
def test_literal_forms(server: Running, name: str, first: int, huffman: bool) -> None:
    """generic/5: twelve ways to write a field."""
    if name == "indexed name":
        written = METHOD + authority(first, huffman=huffman)
    else:
        written = (
            METHOD + authority(0, huffman=False) + literal(b"x-new", b"value", first=first, huffman=huffman)
        )

    verify(server, headers(written), CONNECTED)


@cases(
    # The first CONNECT puts :method and :authority into the table, the second is two indices.
    (
        "indexed fields",
        headers(literal(b":method", b"CONNECT", first=0x40, huffman=False) + authority(0x40, huffman=False))
        + headers(b"\xbf\xbe", stream_id=3),
        Lives(statuses={1: 200, 3: 200}),
    ),
    ("a table size update", headers(b"\x20" + BLOCK), CONNECTED),
    ("several", headers(b"\x20\x3f\xe1\x1f" + BLOCK), CONNECTED),
)
def test_table_forms(server: Running, sent: bytes, expected: Lives) -> None:
    """generic/5: indices and table size updates."""
    verify(server, sent, expected)


def test_preface_a_byte_at_a_time(server: Running) -> None:
    """B71: and everything after it."""
    with Peer.connect(server, b"") as peer:
        for byte in OPENING + head(1, CONNECT):
            peer.send(bytes([byte]))
        peer.read_until(lambda p: p.statuses)

        assert peer.statuses == {1: 200}
