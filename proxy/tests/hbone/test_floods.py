"""What is legal, far too often or far too much: it ends the connection calmly, on either side."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from hpack import Encoder

from proxy.hbone import frames
from proxy.hbone.connection import Connection
from proxy.hbone.errors import Flood
from proxy.hbone.events import Answered, Event, Requested, Reset
from proxy.hbone.frames import FrameType
from proxy.hbone.limits import Limits, Rate
from proxy.tests.hbone.floods import FLOODS, NAMES
from proxy.tests.hbone.pair import HEADERS
from proxy.tests.hbone.raw import data, goaways, head, raw_client, raw_server, resets


def flooded(connection: Connection, kind: str, flood: bytes) -> None:
    """`flood` is one, and the connection says so."""
    with pytest.raises(Flood) as caught:
        connection.receive(flood, 0.0)

    assert kind == caught.value.kind
    assert connection.closed
    assert goaways(connection.output())[-1][1] == ErrorCodes.ENHANCE_YOUR_CALM


@pytest.mark.parametrize(("_id", "kind", "flood"), FLOODS, ids=NAMES)
def test_flood_ends_a_server(_id: str, kind: str, flood: bytes) -> None:
    """T03, T06 to T08, T10, T11."""
    flooded(raw_server(), kind, head(1) + flood if "header" not in kind and kind != "CONTINUATION" else flood)


@pytest.mark.parametrize(("_id", "kind", "flood"), FLOODS, ids=NAMES)
def test_flood_ends_a_client(_id: str, kind: str, flood: bytes) -> None:
    """T24, T03, T06 to T08, T10, T11: a malicious server gets no more than a malicious client."""
    client = raw_client()
    if "header" not in kind and kind != "CONTINUATION":
        client.receive(head(1, [(b":status", b"200")]), 0.0)

    flooded(client, kind, flood)


@pytest.mark.parametrize("side", ["server", "client"])
def test_header_list_is_bounded_as_it_is_decoded(side: str) -> None:
    """T04, T24: a 4 KiB field in HPACK's table, then a byte for each further 4 KiB."""
    block = Encoder().encode([(b"x", b"v" * 4000)]) + b"\xbe" * 1000

    flooded(
        raw_server() if side == "server" else raw_client(),
        "header list",
        frames.frame(FrameType.HEADERS, frames.END_HEADERS, 1, block),
    )


def test_many_header_fields_are_refused_on_their_stream() -> None:
    """T04, B64: 100 fields pass every limit in bytes."""
    server = raw_server()
    many = [*HEADERS, *((b"x-%d" % n, b"") for n in range(100))]
    events = server.receive(head(1, many) + head(3), 0.0)

    assert [Requested(3, HEADERS)] == events
    assert resets(server.output()) == [(1, ErrorCodes.ENHANCE_YOUR_CALM)]


def test_informational_answers_are_bounded() -> None:
    """T24: a storm of 1xx; a few are nothing."""
    client = raw_client()
    early = head(1, [(b":status", b"103")])

    assert [] == client.receive(early * 100, 0.0)
    flooded(client, "informational answers", early)


MALFORMED = [
    ("upper-case name", [*HEADERS, (b"X-Upper", b"1")]),
    ("line feed in a value", [*HEADERS, (b"x", b"1\ny: 2")]),
    ("carriage return in a value", [*HEADERS, (b"x", b"1\r")]),
    ("NUL in a value", [*HEADERS, (b"x", b"\0")]),
    ("space in a name", [*HEADERS, (b"x y", b"1")]),
    ("connection", [*HEADERS, (b"connection", b"close")]),
    ("transfer-encoding", [*HEADERS, (b"transfer-encoding", b"chunked")]),
    ("te: gzip", [*HEADERS, (b"te", b"gzip")]),
    ("unknown pseudo-header", [(b":unknown", b"1"), *HEADERS]),
    ("late pseudo-header", [(b"x", b"1"), *HEADERS]),
    ("authority twice", [(b":authority", b"10.0.0.3:80"), *HEADERS]),
    ("Host that differs", [*HEADERS, (b"host", b"10.0.0.3:80")]),
    (":path on CONNECT", [(b":path", b"/"), *HEADERS]),
    ("no :authority", [(b":method", b"CONNECT")]),
    ("no :method", [(b":authority", b"10.0.0.2:80")]),
    ("nothing", []),
]


@pytest.mark.parametrize(("_what", "fields"), MALFORMED, ids=[what for what, _ in MALFORMED])
def test_malformed_head_is_over_alone(_what: str, fields: list[tuple[bytes, bytes]]) -> None:
    """T13, T21, B51, B61, B63, B64: its neighbours live, and HPACK is in step for the next one."""
    server = raw_server()
    encoder = Encoder()
    server.receive(head(1, encoder=encoder), 0.0)
    server.output()
    events = server.receive(head(3, fields, encoder=encoder) + data(3, b"x" * 10), 0.0)

    assert [] == events
    assert resets(server.output()) == [(3, ErrorCodes.PROTOCOL_ERROR)]
    assert [Requested(5, HEADERS)] == server.receive(head(5, encoder=encoder), 0.0)
    assert server.live == 2


def test_malformed_heads_are_counted() -> None:
    """T13, CVE-2019-9514: each costs a reset, whoever sends it."""
    server = raw_server(Limits(resets=Rate(burst=10, per_s=1)))
    bad = [(b"Upper", b""), *HEADERS]
    server.receive(b"".join(head(2 * n + 1, bad) for n in range(10)), 0.0)

    flooded(server, "resets", head(21, bad))


def test_length_of_a_body_does_not_reach_the_state_machine() -> None:
    """T20: the request is answered by whoever reads it; its DATA may end as it likes."""
    server = raw_server()
    claimed = [*HEADERS, (b"content-length", b"5")]
    events = server.receive(head(1, claimed) + data(1, b"abc", frames.END_STREAM) + head(3), 0.0)

    assert [e.stream_id for e in events if isinstance(e, Requested)] == [1, 3]
    assert not server.closed


def answered(*fields: tuple[bytes, bytes], end_stream: bool = False) -> tuple[list[Event], Connection]:
    client = raw_client()
    return client.receive(head(1, list(fields), end_stream=end_stream), 0.0), client


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [(b"x", b"1")],
        [(b":status", b"")],
        [(b":status", b"2x0")],
        [(b":status", b"20")],
        [(b":status", b"-20")],
        [(b":status", b"2000000000000000000000000")],
        [(b":status", b"200"), (b":status", b"200")],
        [(b":status", b"200"), (b":path", b"/")],
        [(b":status", b"200"), (b"Upper", b"")],
    ],
)
def test_malformed_answer_loses_its_stream_alone(fields: list[tuple[bytes, bytes]]) -> None:
    """T24: h2 by itself would lose the tunnel."""
    events, client = answered(*fields)

    assert [Reset] == [type(event) for event in events]
    assert resets(client.output()) == [(1, ErrorCodes.PROTOCOL_ERROR)]
    assert not client.closed


def test_answer_with_an_end_is_an_answer() -> None:
    """T24: 200 with END_STREAM is a server that sends nothing; 103 with one is malformed."""
    events, client = answered((b":status", b"200"), end_stream=True)
    assert Answered(1, 200, [(b":status", b"200")]) == events[0]
    assert client.live == 1

    events, client = answered((b":status", b"103"), end_stream=True)
    assert [Reset] == [type(event) for event in events]


def test_what_was_under_way_when_we_reset_is_no_fault() -> None:
    """T22: DATA and trailers on a stream that we gave up cost the peer nothing."""
    server = raw_server(Limits(resets=Rate(burst=1, per_s=0)))
    encoder = Encoder()
    server.receive(head(1, encoder=encoder), 0.0)
    server.reset(server.stream(1), ErrorCodes.CANCEL)
    server.output()
    trailers = head(1, [(b"x", b"1")], end_stream=True, encoder=encoder)

    assert [] == server.receive(data(1, b"x" * 100) * 50 + trailers, 0.0)
    assert b"" == server.output()


def test_data_on_a_stream_that_the_peer_reset_is_its_fault() -> None:
    """T02: answered by a reset, which counts."""
    server = raw_server(Limits(resets=Rate(burst=2, per_s=0)))
    server.receive(head(1) + frames.rst_stream(1, ErrorCodes.CANCEL), 0.0)
    server.receive(data(1, b"x"), 0.0)

    assert resets(server.output()) == [(1, ErrorCodes.STREAM_CLOSED)]
    assert [] == server.receive(data(1, b"x"), 0.0)  # it may not have heard of ours yet
