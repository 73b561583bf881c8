"""What a peer may well do: credit in small steps, padding, a reason for a GOAWAY; what a server may not."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from h2.settings import SettingCodes

from proxy.hbone import frames
from proxy.hbone.connection import MAX_PAYLOAD
from proxy.hbone.errors import RemoteProtocolError
from proxy.hbone.events import Data, Draining, Reset
from proxy.hbone.frames import FrameType
from proxy.hbone.receiver import JOINED_BYTES, MAX_DEBUG
from proxy.tests.hbone.pair import OK, Pair, packed
from proxy.tests.hbone.raw import data, goaways, head, raw_client, raw_server


@pytest.mark.parametrize("step", [4096, 16_384, 65_536])
def test_credit_in_small_steps_lives(step: int) -> None:
    """P22: Go's peers announce both windows every 4 KiB (inflowMinRefresh); 200 MB of it."""
    pair = Pair()
    stream_id = pair.connect()
    sending, sent, payload = pair.stream(pair.server, stream_id), 0, bytes(MAX_PAYLOAD)
    while sent < 200_000_000:
        length = pair.server.sendable(sending)
        packed(pair.server, sending, payload[:length])
        sent += length
        for start in range(0, length, step):
            credit = min(step, length - start)
            both = frames.window_update(stream_id, credit) + frames.window_update(0, credit)
            pair.server.receive(both, 0.0)

    assert not pair.server.closed


@pytest.mark.parametrize("padding", [0, 255])
def test_padding_alone_is_no_flood(padding: int) -> None:
    """P43, T08: 512 DATA frames of nothing else, as a peer sends that hides its traffic (RFC 9113 10.7)."""
    server = raw_server()
    server.receive(head(1), 0.0)
    server.answer(1, OK)
    frame = data(1, bytes([padding]) + bytes(padding), frames.PADDED)

    assert [] == server.receive(frame * 512, 0.0)
    (event,) = server.receive(data(1, b"x"), 0.0)
    assert event == Data(1, memoryview(b"x"))


@pytest.mark.parametrize("value", [0, 1])
def test_a_server_may_not_enable_push(value: int) -> None:
    """P40, RFC 9113 6.5.2; a client may, as it means nothing to a server that never pushes."""
    entry = frames.settings([(SettingCodes.ENABLE_PUSH, value)])
    raw_server().receive(entry, 0.0)
    client = raw_client()
    if not value:
        client.receive(entry, 0.0)
        return
    with pytest.raises(RemoteProtocolError, match="ENABLE_PUSH of 1 from a server"):
        client.receive(entry, 0.0)

    assert goaways(client.output())[0][1] == ErrorCodes.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("debug", "told"),
    [
        (b"", ""),
        (b"too_many_resets", "too_many_resets"),
        (b"line\nfeed \xff\0", "line?feed ??"),
        (b"x" * 1000, "x" * MAX_DEBUG),
    ],
)
def test_a_goaways_reason_is_told(debug: bytes, told: str) -> None:
    """P37: its code by name, its debug data bounded and printable."""
    client = raw_client()
    payload = bytes(4) + ErrorCodes.ENHANCE_YOUR_CALM.to_bytes(4) + debug
    events = client.receive(frames.frame(FrameType.GOAWAY, 0, 0, payload), 0.0)

    assert [
        Draining(ErrorCodes.ENHANCE_YOUR_CALM, told),
        Reset(1, ErrorCodes.REFUSED_STREAM, "beyond GOAWAY ENHANCE_YOUR_CALM"),
    ] == events


def payloads(*sent: bytes) -> list[tuple[int, bytes]]:
    server = raw_server()
    server.receive(head(1) + head(3), 0.0)
    for stream_id in (1, 3):
        server.answer(stream_id, OK)
    events = server.receive(b"".join(sent), 0.0)
    return [(event.stream_id, bytes(event.payload)) for event in events if isinstance(event, Data)]


def test_small_frames_in_a_row_are_joined() -> None:
    """P15, T09: 10,000 one-byte frames in one read are one event, and one write to the app."""
    assert payloads(*(data(1, b"%d" % (n % 10)) for n in range(10_000))) == [(1, b"0123456789" * 1000)]


def test_other_frames_are_not() -> None:
    """P15: large ones are not copied, and another stream's have their place."""
    large = b"x" * JOINED_BYTES

    assert payloads(data(1, large), data(1, large)) == [(1, large), (1, large)]
    assert payloads(data(1, large), data(1, b"a"), data(1, b"b")) == [(1, large), (1, b"ab")]
    assert payloads(data(1, b"a"), data(1, large), data(1, b"b")) == [(1, b"a"), (1, large), (1, b"b")]
    assert payloads(data(1, b"a"), data(3, b"b"), data(1, b"c")) == [(1, b"a"), (3, b"b"), (1, b"c")]


def test_what_is_left_of_a_read_is_taken_next() -> None:
    """P15: so many frames at a time, whatever they are, and the rest where they end."""
    server = raw_server()
    server.receive(head(1), 0.0)
    server.answer(1, OK)
    ping = frames.ping(b"12345678", ack=False)
    padded = data(1, b"\5abc" + bytes(5), frames.PADDED)
    read = memoryview((data(1, b"x") + ping + padded + data(1, b"y")) * 5 + data(1, b"half of it")[:12])
    seen, turns = b"", 0
    while read:
        events = server.receive(read, 0.0, 3)
        seen += b"".join(bytes(event.payload) for event in events if isinstance(event, Data))
        read, turns = server.unread, turns + 1

    assert turns == 21 // 3
    assert seen == b"xabcy" * 5 + b"hal"
    assert [b"f of it"] == [bytes(e.payload) for e in server.receive(b"f of it", 0.0) if isinstance(e, Data)]
