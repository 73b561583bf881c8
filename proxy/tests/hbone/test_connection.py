"""Client and server back to back, whole and byte by byte; raw frames for what our side never sends."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from hpack import Encoder

from proxy.hbone import frames
from proxy.hbone.connection import MAX_PAYLOAD, Connection, Side
from proxy.hbone.errors import Flood, LocalProtocolError, RemoteProtocolError
from proxy.hbone.events import Answered, Data, Draining, Ended, Pong, Requested, Reset, SettingsReceived
from proxy.hbone.frames import FrameType
from proxy.hbone.headers import response_headers
from proxy.hbone.limits import Limits, Rate
from proxy.hbone.streams import TOLERATED
from proxy.tests.hbone.pair import HEADERS, OK, Pair
from proxy.tests.hbone.raw import data, goaways, head, kinds, open_block, raw_server, resets


def test_bytes_and_ends_arrive_both_ways(pair: Pair) -> None:
    stream_id = pair.connect()
    pair.send(pair.client, stream_id, b"question")
    pair.client.end(stream_id)
    pair.pump()
    pair.send(pair.server, stream_id, b"answer")
    pair.server.end(stream_id)
    pair.pump()

    assert pair.received[Side.SERVER, stream_id] == b"question"
    assert pair.received[Side.CLIENT, stream_id] == b"answer"
    assert [Ended(stream_id)] == pair.events(Side.SERVER, Ended)
    assert [Ended(stream_id)] == pair.events(Side.CLIENT, Ended)
    assert (pair.client.live, pair.server.live) == (0, 0)


def test_connect_leaves_with_the_preface() -> None:
    """The opener's first stream does not wait for the peer's SETTINGS: a cold first byte is 4 round trips."""
    client = Connection(Side.CLIENT)
    client.start()
    client.connect(HEADERS)
    output = client.output()

    assert output.startswith(frames.PREFACE)
    assert [kind for kind, *_ in kinds(output[len(frames.PREFACE) :])] == [
        FrameType.SETTINGS,
        FrameType.WINDOW_UPDATE,
        FrameType.HEADERS,
    ]


def test_nothing_is_sendable_before_the_answer(pair: Pair) -> None:
    stream_id = pair.client.connect(HEADERS)
    pair.pump()

    assert pair.sendable(pair.client, stream_id) == 0
    assert pair.sendable(pair.server, stream_id) == 0
    pair.server.answer(stream_id, OK)
    pair.pump()
    assert MAX_PAYLOAD == pair.sendable(pair.client, stream_id) == pair.sendable(pair.server, stream_id)


def test_refusal_ends_the_stream_and_leaves_the_others(pair: Pair) -> None:
    kept = pair.connect()
    refused = pair.client.connect(HEADERS)
    pair.pump()
    pair.server.refuse(refused, response_headers(401))
    pair.pump()
    pair.send(pair.client, kept, b"still here")

    assert [event.status for event in pair.events(Side.CLIENT, Answered)] == [200, 401]
    assert (pair.client.live, pair.server.live) == (1, 1)
    assert pair.received[Side.SERVER, kept] == b"still here"


def test_half_closed_request_is_served() -> None:
    """B65: END_STREAM on the CONNECT's head is a client that sends nothing, not an error."""
    server = raw_server()
    events = server.receive(head(1, end_stream=True), 0.0)
    server.answer(1, OK)
    server.end(1)

    assert [Requested(1, HEADERS), Ended(1)] == events
    assert server.live == 0


def test_reset_is_seen_with_its_code(pair: Pair) -> None:
    stream_id = pair.connect()
    pair.server.reset(pair.stream(pair.server, stream_id), ErrorCodes.CONNECT_ERROR)
    pair.pump()

    assert [(stream_id, ErrorCodes.CONNECT_ERROR)] == [
        (event.stream_id, event.code) for event in pair.events(Side.CLIENT, Reset)
    ]
    assert (pair.client.live, pair.server.live) == (0, 0)


def test_stream_over_the_limit_is_refused_alone() -> None:
    """T14: h2 by itself would kill the connection."""
    server = raw_server(Limits(max_streams=2))
    encoder = Encoder()
    events = server.receive(b"".join(head(i, encoder=encoder) for i in (1, 3, 5)), 0.0)

    assert [event.stream_id for event in events if isinstance(event, Requested)] == [1, 3]
    assert resets(server.output()) == [(5, ErrorCodes.REFUSED_STREAM)]
    server.reset(server.stream(1), ErrorCodes.CANCEL)
    events = server.receive(head(7, encoder=encoder), 0.0)
    assert [Requested(7, HEADERS)] == events


def test_request_taken_back_in_the_same_read_never_was() -> None:
    """T01: nothing may be dialled for it."""
    server = raw_server()
    events = server.receive(head(1) + data(1, b"x") + frames.rst_stream(1, ErrorCodes.CANCEL), 0.0)

    assert events == []
    assert server.live == 0


def test_rapid_reset_ends_the_connection_whenever_the_resets_come() -> None:
    """T01, in lock step: each reset is answered before the next."""
    server = raw_server(Limits(resets=Rate(burst=100, per_s=1)))
    encoder = Encoder()
    for number in range(100):
        server.receive(head(2 * number + 1, encoder=encoder), number * 0.001)
        server.receive(frames.rst_stream(2 * number + 1, ErrorCodes.CANCEL), number * 0.001)
    server.receive(head(201, encoder=encoder), 0.1)
    with pytest.raises(Flood):
        server.receive(frames.rst_stream(201, ErrorCodes.CANCEL), 0.1)

    assert goaways(server.output())[0][1] == ErrorCodes.ENHANCE_YOUR_CALM


def test_resets_that_we_are_made_to_send_count_as_well() -> None:
    """T02, CVE-2025-8671."""
    server = raw_server(Limits(resets=Rate(burst=10, per_s=1)))
    encoder = Encoder()
    for number in range(10):
        stream_id = 2 * number + 1
        server.receive(
            head(stream_id, encoder=encoder) + frames.window_update(stream_id, frames.MAX_WINDOW), 0.0
        )
    with pytest.raises(Flood):
        server.receive(head(21, encoder=encoder) + frames.window_update(21, frames.MAX_WINDOW), 0.0)


def test_budgets_refill() -> None:
    server = raw_server()
    for second in range(100):
        server.receive(frames.ping(b"12345678", ack=False) * 30, float(second))

    assert len(kinds(server.output())) == 3000


def test_chatty_stream_lives(pair: Pair) -> None:
    """T09b: one byte a frame, thousands of frames, both ways."""
    stream_id = pair.connect()
    count = 20_000 if pair.portion > 1 else 500
    for _ in range(count):
        pair.send(pair.client, stream_id, b"a")
        pair.send(pair.server, stream_id, b"b")

    assert count == len(pair.received[Side.SERVER, stream_id]) == len(pair.received[Side.CLIENT, stream_id])


@pytest.mark.parametrize(
    ("what", "sent", "code"),
    [
        ("DATA on stream 0", data(0, b"x"), ErrorCodes.PROTOCOL_ERROR),
        ("DATA on an idle stream", data(1, b"x"), ErrorCodes.PROTOCOL_ERROR),
        ("WINDOW_UPDATE on an idle stream", frames.window_update(1, 1), ErrorCodes.PROTOCOL_ERROR),
        ("WINDOW_UPDATE by 0", frames.window_update(0, 0), ErrorCodes.PROTOCOL_ERROR),
        ("window over 2^31-1", frames.window_update(0, 2**31 - 1), ErrorCodes.FLOW_CONTROL_ERROR),
        ("RST_STREAM on an idle stream", frames.rst_stream(1, 0), ErrorCodes.PROTOCOL_ERROR),
        ("even stream", head(2), ErrorCodes.PROTOCOL_ERROR),
        ("frame too large", frames.head((1 << 20) + 1, 0, 0, 1), ErrorCodes.FRAME_SIZE_ERROR),
        ("PING of 7 bytes", frames.frame(FrameType.PING, 0, 0, b"7" * 7), ErrorCodes.FRAME_SIZE_ERROR),
        ("PING on a stream", frames.frame(FrameType.PING, 0, 1, b"8" * 8), ErrorCodes.PROTOCOL_ERROR),
        (
            "SETTINGS of 5 bytes",
            frames.frame(FrameType.SETTINGS, 0, 0, b"5" * 5),
            ErrorCodes.FRAME_SIZE_ERROR,
        ),
        ("SETTINGS on a stream", frames.frame(FrameType.SETTINGS, 0, 1, b""), ErrorCodes.PROTOCOL_ERROR),
        ("ACK with entries", frames.frame(FrameType.SETTINGS, 1, 0, b"6" * 6), ErrorCodes.FRAME_SIZE_ERROR),
        ("initial window over 2^31-1", frames.settings([(4, 2**31)]), ErrorCodes.FLOW_CONTROL_ERROR),
        ("frame size under 16384", frames.settings([(5, 16383)]), ErrorCodes.PROTOCOL_ERROR),
        ("push setting of 2", frames.settings([(2, 2)]), ErrorCodes.PROTOCOL_ERROR),
        ("PUSH_PROMISE", frames.frame(FrameType.PUSH_PROMISE, 4, 1, b"\0\0\0\2"), ErrorCodes.PROTOCOL_ERROR),
        ("CONTINUATION alone", frames.frame(FrameType.CONTINUATION, 4, 1, b""), ErrorCodes.PROTOCOL_ERROR),
        ("PING in a block", open_block(b"") + frames.ping(b"8" * 8, ack=False), ErrorCodes.PROTOCOL_ERROR),
        ("too much padding", head(1) + data(1, b"\5xx", frames.PADDED), ErrorCodes.PROTOCOL_ERROR),
        ("no HPACK entry", open_block(b"") + frames.frame(9, 4, 1, b"\xff"), ErrorCodes.COMPRESSION_ERROR),
        ("connection window", head(1) + data(1, b"x" * 60_000) * 2, ErrorCodes.FLOW_CONTROL_ERROR),
    ],
)
@pytest.mark.parametrize("portion", [1 << 30, 1], ids=["whole", "byte-by-byte"])
def test_broken_protocol_ends_the_connection(what: str, sent: bytes, code: ErrorCodes, portion: int) -> None:
    server = raw_server(Limits(connection_window=65_535, stream_window=65_535))
    with pytest.raises(RemoteProtocolError) as caught:
        feed(server, sent, portion)

    assert caught.value.code == code, what
    assert server.closed
    assert goaways(server.output())


def test_settings_must_come_first() -> None:
    """T25."""
    server = Connection(Side.SERVER)
    server.start()
    with pytest.raises(RemoteProtocolError, match="SETTINGS"):
        server.receive(frames.PREFACE + head(1), 0.0)


def feed(connection: Connection, sent: bytes, portion: int) -> None:
    for start in range(0, len(sent), portion):
        connection.receive(sent[start : start + portion], 0.0)


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n", b"SSH-2.0-", b"\0" * 24, b"PRI * HTTP/1.1"])
def test_another_protocol_ends_the_connection_at_once(first: bytes) -> None:
    """T25, B71."""
    server = Connection(Side.SERVER)
    server.start()
    with pytest.raises(RemoteProtocolError, match="preface"):
        server.receive(first, 0.0)


def test_trailers_reset_the_stream_and_no_other() -> None:
    """T19, B66; and HPACK stays in step: the next request still decodes."""
    server = raw_server()
    encoder = Encoder()
    server.receive(head(1, encoder=encoder) + head(3, encoder=encoder), 0.0)
    server.answer(1, OK)
    server.output()
    trailers = frames.frame(FrameType.HEADERS, 5, 1, encoder.encode([(b"x-one", b"1")]))
    events = server.receive(trailers + head(5, encoder=encoder), 0.0)

    assert [
        Reset(1, ErrorCodes.PROTOCOL_ERROR, "HEADERS on a connected stream"),
        Requested(5, HEADERS),
    ] == events
    assert resets(server.output()) == [(1, ErrorCodes.PROTOCOL_ERROR)]
    assert server.live == 2


def test_data_after_its_end_resets_the_stream() -> None:
    """B66."""
    server = raw_server()
    server.receive(head(1), 0.0)
    server.answer(1, OK)
    server.output()
    events = server.receive(data(1, b"x", frames.END_STREAM) + data(1, b"y"), 0.0)

    assert [Data, Ended, Reset] == [type(event) for event in events]
    assert resets(server.output()) == [(1, ErrorCodes.STREAM_CLOSED)]


def test_what_crosses_our_reset_is_tolerated_and_not_for_ever() -> None:
    """An answer and data that were under way. What is kept for that is bounded: tunnels live for days."""
    client = Connection(Side.CLIENT)
    client.start()
    client.receive(frames.settings([]), 0.0)
    reset = []
    for _ in range(TOLERATED + 100):
        reset.append(client.connect(HEADERS))
        client.reset(client.stream(reset[-1]), ErrorCodes.CANCEL)
    client.output()
    encoder = Encoder()

    for stream_id in reset[-TOLERATED:]:
        answer = frames.headers(stream_id, encoder.encode(OK), end_stream=False)
        assert client.receive(answer + data(stream_id, b"x"), 0.0) == []
    assert resets(client.output()) == []
    client.receive(data(reset[0], b"x"), 0.0)
    assert resets(client.output()) == [(reset[0], ErrorCodes.STREAM_CLOSED)]


def test_goaway_lets_live_streams_finish(pair: Pair) -> None:
    """T23: a server that drains keeps carrying what it has, and takes nothing new."""
    stream_id = pair.connect()
    pair.server.drain()
    pair.pump()
    assert pair.client.capacity == 0
    pair.send(pair.client, stream_id, b"late question")
    pair.send(pair.server, stream_id, b"late answer")
    pair.client.end(stream_id)
    pair.server.end(stream_id)
    pair.pump()

    assert pair.received[Side.SERVER, stream_id] == b"late question"
    assert pair.received[Side.CLIENT, stream_id] == b"late answer"
    assert [Draining(0, ""), Draining(0, "")] == pair.events(Side.CLIENT, Draining)
    assert 0 == pair.client.live == pair.server.live


def test_request_under_way_while_the_server_drains_is_served() -> None:
    pair = Pair()
    pair.connect()
    under_way = pair.client.connect(HEADERS)
    pair.server.drain()
    pair.pump()

    assert under_way in [event.stream_id for event in pair.events(Side.SERVER, Requested)]


def test_streams_beyond_goaway_are_told_to_try_elsewhere() -> None:
    pair = Pair()
    first, second = pair.connect(), pair.client.connect(HEADERS)
    pair.deliver(pair.client, frames.goaway(first, ErrorCodes.NO_ERROR))

    assert [(second, ErrorCodes.REFUSED_STREAM)] == [
        (event.stream_id, event.code) for event in pair.events(Side.CLIENT, Reset)
    ]
    assert pair.client.live == 1


def test_ping_is_answered_and_ours_is_recognised(pair: Pair) -> None:
    pair.client.ping()
    pair.server.ping()
    pair.pump()

    assert [Pong()] == pair.events(Side.CLIENT, Pong)
    assert [Pong()] == pair.events(Side.SERVER, Pong)


def test_peer_limit_of_streams_binds_us() -> None:
    pair = Pair(server_limits=Limits(max_streams=2))
    assert pair.client.capacity == 100  # before SETTINGS
    pair.connect()
    pair.connect()

    assert pair.client.capacity == 0
    with pytest.raises(LocalProtocolError):
        pair.client.connect(HEADERS)


def test_settings_are_told_and_acknowledged(pair: Pair) -> None:
    pair.pump()

    assert [SettingsReceived()] == pair.events(Side.CLIENT, SettingsReceived)
    assert pair.client.acknowledged
    assert pair.server.acknowledged


@pytest.mark.parametrize("size", [0, 4096, 2**32 - 1])
def test_no_table_is_kept_whatever_the_peer_offers(size: int) -> None:
    """T05: a peer that offers a table of 4 GiB does not get us to fill it: no head refers to another."""
    client = Connection(Side.CLIENT)
    client.start()
    client.receive(frames.settings([(1, size)]), 0.0)
    client.output()
    heads = []
    for _ in range(3):
        client.connect(HEADERS)
        heads.append(client.output()[frames.HEAD_BYTES :])

    assert b"\x20" == heads[0][:1]
    assert heads[0][1:] == heads[1] == heads[2]


def test_priority_and_padding_on_headers_are_understood() -> None:
    server = raw_server()
    payload = b"\3" + b"\0\0\0\0\0" + Encoder().encode(HEADERS) + b"\0\0\0"
    flags = frames.PADDED | frames.PRIORITY_FLAG | frames.END_HEADERS

    assert [Requested(1, HEADERS)] == server.receive(frames.frame(FrameType.HEADERS, flags, 1, payload), 0.0)


def test_unfinished_preface_and_frames_are_reported() -> None:
    """T15: what a deadline watches."""
    server = Connection(Side.SERVER)
    server.start()
    server.receive(frames.PREFACE[:5], 0.0)
    assert server.incomplete
    server.receive(frames.PREFACE[5:] + frames.settings([]), 0.0)
    assert not server.incomplete
    server.receive(head(1)[:12], 0.0)
    assert server.incomplete
    server.receive(head(1)[12:] + data(1, b"xyz")[:10], 0.0)
    assert not server.incomplete  # half a DATA frame is a slow app, not an attack
