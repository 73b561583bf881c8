"""Flow control between client and server: what was taken is credited, and both ends agree on what is left."""

from __future__ import annotations

import pytest
from h2.errors import ErrorCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.hbone import frames
from proxy.hbone.connection import MAX_PAYLOAD, Side
from proxy.hbone.errors import LocalProtocolError
from proxy.hbone.events import Data, Requested
from proxy.hbone.frames import FrameType
from proxy.hbone.limits import Limits, Rate
from proxy.hbone.windows import Reserve
from proxy.tests.hbone.pair import HEADERS, OK, Pair, packed
from proxy.tests.hbone.raw import data, head, kinds, raw_server


def test_padding_is_credited() -> None:
    """255 bytes of padding a frame, for four connection windows: the tunnel lives."""
    server = raw_server(Limits(connection_window=65_535, stream_window=65_535))
    server.receive(head(1), 0.0)
    credit = {0: 65_535, 1: 65_535}
    for _ in range(1000):
        assert min(credit.values()) >= 257
        for event in server.receive(data(1, b"\xff" + b"x" + b"\0" * 255, frames.PADDED), 0.0):
            if isinstance(event, Data):
                server.credit(server.stream(1), len(event.payload))
        credit = {key: value - 257 for key, value in credit.items()}
        for kind, _, stream_id, payload in kinds(server.output()):
            if kind == FrameType.WINDOW_UPDATE:
                credit[stream_id] += frames.parse_long(payload)


def test_discarded_data_is_credited() -> None:
    """T22: streams reset with unread data, for 40 connection windows: the window comes back."""
    limits = Limits(connection_window=100_000, stream_window=65_535, resets=Rate(burst=10**6, per_s=1))
    pair = Pair(server_limits=limits, hold=True)
    for number in range(80):
        stream_id = pair.connect()
        assert pair.send(pair.client, stream_id, b"x" * 50_000) == 50_000, number
        pair.server.reset(pair.stream(pair.server, stream_id), ErrorCodes.CANCEL)
        # Data under way while the reset travels is charged to the connection as well.
        if pair.sendable(pair.client, stream_id):
            pair.send(pair.client, stream_id, b"y" * 100)
        pair.pump()

    assert 0 == pair.client.live == pair.server.live


def test_no_credit_before_bytes_have_gone() -> None:
    limits = Limits(connection_window=200_000, stream_window=65_535)
    pair = Pair(server_limits=limits, hold=True)
    first, second = pair.connect(), pair.connect()
    assert pair.send(pair.client, first, b"x" * 100_000) == 65_535
    pair.pump()

    assert pair.sendable(pair.client, first) == 0
    assert pair.send(pair.client, second, b"y" * 10) == 10
    pair.server.credit(pair.stream(pair.server, first), 65_535)
    pair.pump()
    assert pair.sendable(pair.client, first) > 60_000


def test_bytes_that_a_closed_stream_still_holds_keep_their_share_of_the_window() -> None:
    """F12: both ends have ended, the app has not read: the connection's credit waits for the app."""
    pair = Pair(server_limits=Limits(connection_window=65_535, stream_window=65_535), hold=True)
    stream_id = pair.connect()
    pair.send(pair.client, stream_id, b"x" * 65_535)
    pair.client.end(stream_id)
    pair.server.end(stream_id)
    pair.pump()
    other = pair.connect()

    assert pair.server.live - 1 == 0
    assert pair.sendable(pair.client, other) == 0
    pair.server.credit(pair.stream(pair.server, stream_id), 65_535)
    pair.pump()
    assert pair.sendable(pair.client, other) > 0


def test_shrunken_window_goes_negative_and_recovers() -> None:
    server = raw_server()
    server.receive(head(1), 0.0)
    server.answer(1, OK)
    packed(server, server.stream(1), b"x" * 60_000)
    server.receive(frames.settings([(4, 10_000)]), 0.0)
    assert server.sendable(server.stream(1)) == 0
    server.receive(frames.window_update(1, 50_000), 0.0)
    assert server.sendable(server.stream(1)) == 0
    server.receive(frames.window_update(1, 5), 0.0)

    assert server.sendable(server.stream(1)) == 5
    server.end(1)  # no window is needed for an end


def test_sending_more_than_the_window_is_our_mistake(pair: Pair) -> None:
    stream_id = pair.connect()
    with pytest.raises(LocalProtocolError):
        pair.client.pack(pair.stream(pair.client, stream_id), bytearray(9), 5 * 1024 * 1024)


def test_hundreds_of_megabytes_over_one_stream() -> None:
    """Both views of the windows stay in step far beyond any single window."""
    pair = Pair()
    stream_id = pair.connect()
    payload = bytes(MAX_PAYLOAD)
    total = 300 * 1024 * 1024
    sent = received = 0
    while sent < total:
        room = pair.sendable(pair.client, stream_id)
        assert room, "the window closed although everything was credited"
        frame = pair.client.output() + packed(
            pair.client, pair.stream(pair.client, stream_id), payload[:room]
        )
        sent += room
        for event in pair.server.receive(frame, 0.0):
            if isinstance(event, Data):
                received += len(event.payload)
                pair.server.credit(pair.stream(pair.server, stream_id), len(event.payload))
        pair.client.receive(pair.server.output(), 0.0)
    pair.client.end(stream_id)
    pair.server.end(stream_id)
    pair.pump()

    assert sent == received
    assert 0 == pair.client.live == pair.server.live


SLOW = Limits(connection_window=1_000_000, stream_window=250_000)


def stalled(pair: Pair, count: int) -> list[int]:
    """Streams that the client fills and whose readers at the server take nothing; those that were filled."""
    ids = []
    for _ in range(count):
        stream_id = pair.connect()
        if pair.send(pair.client, stream_id, bytes(250_000)) == 250_000:
            ids.append(stream_id)
        pair.server.advance()
        pair.pump()
    return ids


def test_slow_readers_do_not_shut_the_window_that_all_share() -> None:
    """P44, B06: ten times as many as its window has room for, and the next stream flows."""
    pair = Pair(server_limits=SLOW, hold=True, reserve=Reserve(left=100_000_000))
    assert len(stalled(pair, 40)) == 40
    other = pair.connect()

    assert not pair.client.window_shut
    for _ in range(100):
        assert pair.send(pair.client, other, bytes(50_000)) == 50_000
        pair.server.credit(pair.stream(pair.server, other), 50_000)
        pair.server.advance()
        pair.pump()


def test_what_slow_readers_hold_is_bounded() -> None:
    """P44, I5: a connection has its window, and no more of the reserve than it leaves to the others."""
    reserve = Reserve(left=4_000_000)
    pairs = [Pair(server_limits=SLOW, hold=True, reserve=reserve) for _ in range(4)]
    held = []
    for pair in pairs:
        stalled(pair, 40)
        assert pair.client.window_shut
        assert pair.server.window_shut
        held.append(pair.server._streams.receive.held)

    assert [3_000_000, 2_000_000, 1_500_000, 1_250_000] == [round(h, -4) for h in held]
    assert reserve.left == 4_000_000 - sum(p.server._streams.receive.advanced for p in pairs) > 0
    pairs[0].server.close()
    assert reserve.left > 2_000_000


@pytest.mark.parametrize("how", ["credit", "reset"])
def test_the_reserve_has_back_what_slow_readers_took(how: str) -> None:
    """P44: whether they read in the end or go."""
    reserve = Reserve(left=50_000_000)
    pair = Pair(server_limits=SLOW, hold=True, reserve=reserve)
    ids = stalled(pair, 20)
    assert reserve.left < 50_000_000
    for stream_id in ids:
        stream = pair.stream(pair.server, stream_id)
        if how == "reset":
            pair.server.reset(stream, ErrorCodes.CANCEL)
        for _ in range(5 if how == "credit" else 0):
            pair.server.credit(stream, 50_000)
        pair.pump()

    window = pair.server._streams.receive
    assert reserve.left == 50_000_000
    assert (window.held, window.advanced) == (0, 0)
    assert window.available + window.owed == window.size == 1_000_000


def test_a_nearly_shut_window_is_opened_by_little() -> None:
    """P44: beyond the reserve, what flows beside slow readers lives on the credit for its own few bytes."""
    pair = Pair(server_limits=SLOW, hold=True, reserve=Reserve(left=0))
    stalled(pair, 3)
    slow, other = pair.connect(), pair.connect()
    assert pair.send(pair.client, slow, bytes(240_000)) == 240_000
    for _ in range(1000):
        assert pair.send(pair.client, other, bytes(1000)) == 1000
        pair.server.credit(pair.stream(pair.server, other), 1000)
        pair.pump()


@settings(max_examples=150, deadline=None)
@given(
    actions=st.lists(
        st.tuples(
            st.sampled_from(
                ["connect", "answer", "refuse", "send", "credit", "end", "reset", "deliver", "advance"]
            ),
            st.sampled_from([Side.CLIENT, Side.SERVER]),
            st.integers(0, 5),
            st.integers(1, 40_000),
        ),
        max_size=80,
    )
)
def test_both_views_of_every_stream_agree(  # noqa: PLR0912  one branch per action reads best in place
    actions: list[tuple[str, Side, int, int]],
) -> None:
    """Random interleavings; whatever is under way is delivered at the end, and nothing is left over."""
    limits = Limits(stream_window=70_000, connection_window=150_000)
    client_limits = Limits(stream_window=70_000, connection_window=150_000, max_streams=0)
    reserve = Reserve(left=100_000)
    pair = Pair(client_limits=client_limits, server_limits=limits, hold=True, reserve=reserve)
    wire: dict[Side, bytearray] = {Side.CLIENT: bytearray(), Side.SERVER: bytearray()}
    sides = {Side.CLIENT: pair.client, Side.SERVER: pair.server}
    other = {Side.CLIENT: pair.server, Side.SERVER: pair.client}
    held: dict[tuple[Side, int], int] = {}
    requested: list[int] = []
    sent: dict[tuple[Side, int], int] = {}

    def deliver(sender: Side, count: int) -> None:
        wire[sender] += sides[sender].output()
        part = bytes(wire[sender][:count])
        del wire[sender][:count]
        receiver = other[sender]
        for event in receiver.receive(part, 0.0):
            if isinstance(event, Data):
                key = (receiver.side, event.stream_id)
                held[key] = held.get(key, 0) + len(event.payload)
                pair.received.setdefault(key, bytearray()).extend(event.payload)
            elif isinstance(event, Requested):
                pair.stream(receiver, event.stream_id)
                requested.append(event.stream_id)

    for action, side, index, count in actions:
        connection = sides[side]
        stream_id = 2 * index + 1
        stream = pair.streams.get((side, stream_id))
        match action:
            case "connect":
                if pair.client.capacity:
                    pair.stream(pair.client, pair.client.connect(HEADERS))
            case "answer" | "refuse":
                waiting = pair.streams.get((Side.SERVER, stream_id))
                if waiting is not None and not waiting.closed and not waiting.answered:
                    (pair.server.answer if action == "answer" else pair.server.refuse)(stream_id, OK)
            case "send":
                room = min(connection.sendable(stream), count) if stream is not None else 0
                if room and stream is not None:
                    wire[side] += connection.output() + packed(connection, stream, b"z" * room)
                    sent[side, stream_id] = sent.get((side, stream_id), 0) + room
            case "credit":
                amount = min(held.get((side, stream_id), 0), count)
                if amount:
                    connection.credit(pair.streams[side, stream_id], amount)
                    held[side, stream_id] -= amount
            case "end":
                if stream is not None and not stream.closed and stream.answered and not stream.local_ended:
                    connection.end(stream_id)
            case "reset":
                if stream is not None:
                    connection.reset(stream, ErrorCodes.CANCEL)
                    held.pop((side, stream_id), None)
            case "deliver":
                deliver(side, count)
            case "advance":
                connection.advance()
    for _ in range(6):
        for (side, _), stream in pair.streams.items():
            sides[side].reset(stream, ErrorCodes.CANCEL)
        deliver(Side.CLIENT, 1 << 30)
        deliver(Side.SERVER, 1 << 30)

    assert pair.client.live == pair.server.live == 0
    for sender, receiver in ((pair.client, pair.server), (pair.server, pair.client)):
        window = receiver._streams.receive
        assert window.held == window.advanced == 0
        assert window.size == window.available + window.owed
        assert window.available == sender._streams.send.available
    assert reserve.left == 100_000
    for (side, stream_id), amount in sent.items():
        assert len(pair.received.get((other[side].side, stream_id), b"")) <= amount


@pytest.mark.parametrize("sender", Side)
def test_five_gibibytes_through_one_stream(sender: Side) -> None:
    """Past 2^31 bytes both ways of counting still agree: no window drifts, none runs dry."""
    pair = Pair()
    stream_id = pair.connect()
    near, far = (pair.client, pair.server) if sender is Side.CLIENT else (pair.server, pair.client)
    sending, receiving = pair.stream(near, stream_id), pair.stream(far, stream_id)
    buffer, left = bytearray(65_536), 5 * 2**30
    while left:
        length = min(near.sendable(sending), left)
        assert length
        near.pack(sending, buffer, length)
        (event,) = far.receive(memoryview(buffer)[: frames.HEAD_BYTES + length], 0.0)
        assert isinstance(event, Data)
        far.credit(receiving, len(event.payload))
        if far.has_output:
            near.receive(far.output(), 0.0)
        left -= length

    for ours, theirs in ((sending.send, receiving.receive), (near._streams.send, far._streams.receive)):
        assert ours.available == theirs.available
        assert theirs.available + theirs.owed == theirs.size
        assert not theirs.held


def test_one_slow_reader_costs_the_others_nothing() -> None:
    """F12: 100 streams take turns at a frame each; the 99 whose bytes leave need no turn more for it."""

    def turns(*, slow: bool) -> int:
        pair = Pair()
        pair.pump()
        ids = [pair.connect() for _ in range(100)]
        streams = [pair.stream(pair.client, stream_id) for stream_id in ids]
        buffer, left, taken = bytearray(65_536), dict.fromkeys(ids[1:], 2**24), 0
        while left:
            taken += 1
            assert taken < 1000, "all of them wait for the slow one"
            for stream in streams:
                length = min(pair.client.sendable(stream), left.get(stream.stream_id, 2**20))
                if not length:
                    continue
                pair.client.pack(stream, buffer, length)
                pair.server.receive(memoryview(buffer)[: frames.HEAD_BYTES + length], 0.0)
                if stream is streams[0]:
                    if slow:
                        continue
                else:
                    left[stream.stream_id] -= length
                pair.server.credit(pair.stream(pair.server, stream.stream_id), length)
            left = {stream_id: rest for stream_id, rest in left.items() if rest}
            pair.client.receive(pair.server.output(), 0.0)
        if slow:
            # It stops at its own window, a quarter of the connection's.
            assert pair.server.stream(ids[0]).receive.held <= pair.server.limits.stream_window
        return taken

    assert turns(slow=True) <= 1.1 * turns(slow=False)
