"""P15: a read may hold thousands of frames; others have their turn in between. Counted, not timed."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter

import pytest
from h2.errors import ErrorCodes

from proxy.hbone.frames import END_STREAM, HEAD_BYTES, head
from proxy.tests.sockets import LOOPS, LoopFactory, receive_exactly, run, send, until
from proxy.tests.tunnel.pair import HEADERS, TunnelPair, tunnels
from proxy.tunnel.stream import TunnelStream
from proxy.tunnel.tunnel import FRAMES_PER_TURN

FRAMES = 20_000
"""Of one byte, which is ten bytes on the wire: one read."""


@pytest.fixture(params=list(LOOPS.values()), ids=list(LOOPS))
def loop(request: pytest.FixtureRequest) -> LoopFactory:
    factory: LoopFactory = request.param
    return factory


class Turns:
    """Counts the loop's turns."""

    def __init__(self) -> None:
        self.now = 0
        self._loop = asyncio.get_running_loop()
        self._over = False
        self._turn()

    def _turn(self) -> None:
        self.now += 1
        if not self._over:
            self._loop.call_soon(self._turn)

    def stop(self) -> None:
        self._over = True


class Counting:
    """A receiver that counts, by the turn."""

    def __init__(self, stream: TunnelStream, turns: Turns) -> None:
        self.stream, self.turns = stream, turns
        self.by_turn: Counter[int] = Counter()
        self.received = 0
        self.ended = False
        self.lost: str | None = None

    def on_data(self, payload: memoryview | bytearray) -> None:
        self.by_turn[self.turns.now] += 1
        self.received += len(payload)
        self.stream.credit(len(payload))

    def on_ended(self) -> None:
        self.ended = True

    def on_reset(self, _code: int, reason: str) -> None:
        self.lost = reason

    def on_sendable(self) -> None: ...


async def two_streams(pair: TunnelPair, turns: Turns) -> list[Counting]:
    """Accepted streams and who counts what they receive at the server."""
    pair.client.connect(HEADERS)
    counting = []
    for number in (0, 1):
        stream = await pair.request(number)
        stream.accept()
        counting.append(Counting(stream, turns))
        stream.attach(counting[-1])
    await pair.first.answered()
    return counting


def flood(ids: list[int], count: int, *, end: bool = False) -> bytes:
    """One-byte frames, on one stream after the other: not to be joined."""
    sent = b"".join(head(1, 0, 0, ids[n % len(ids)]) + b"x" for n in range(count))
    return sent + b"".join(head(0, 0, END_STREAM, stream_id) for stream_id in ids) if end else sent


def test_a_turn_has_a_budget_of_frames(loop: LoopFactory) -> None:
    """P15: tiny frames of one read are spread over the turns that they would have held up."""

    async def test() -> None:
        async with tunnels() as pair:
            turns = Turns()
            counting = await two_streams(pair, turns)
            pair.client._channel.write(flood([1, 3], FRAMES))
            await until(lambda: sum(c.received for c in counting) == FRAMES)
            turns.stop()
            together = sum((c.by_turn for c in counting), Counter())

            # A turn of ours may see a read's first part and the rest of the read before.
            assert max(together.values()) <= 2 * FRAMES_PER_TURN
            assert len(together) >= FRAMES // (2 * FRAMES_PER_TURN)
            for stream in (c.stream for c in counting):
                stream.reset(ErrorCodes.CANCEL)

    run(test(), loop=loop)


def test_a_neighbour_waits_for_a_few_frames_and_not_for_a_read(loop: LoopFactory) -> None:
    """P15: while a read of tiny frames is handled, connections of another tunnel go to and fro."""

    async def test() -> None:
        async with tunnels() as pair, tunnels() as other:
            neighbour = await other.relayed(other.first)
            turns = Turns()
            counting = await two_streams(pair, turns)

            async def echoed() -> None:
                await send(neighbour.app, b"?")
                await receive_exactly(neighbour.backend, 1)
                await send(neighbour.backend, b"!")
                await receive_exactly(neighbour.app, 1)

            before = turns.now
            await echoed()
            usual = turns.now - before
            pair.client._channel.write(flood([1, 3], FRAMES))
            await until(lambda: any(c.received for c in counting))
            trips, begun = 0, turns.now
            while sum(c.received for c in counting) < FRAMES:
                await echoed()
                trips += 1
            took = turns.now - begun
            turns.stop()

            assert trips >= 5
            assert took / trips <= 2 * max(usual, 4)
            for stream in (c.stream for c in counting):
                stream.reset(ErrorCodes.CANCEL)
            neighbour.close()

    run(test(), loop=loop)


@pytest.mark.parametrize("end", ["close_notify", "FIN", "RST"])
def test_what_waits_for_its_turn_comes_before_the_tunnels_end(loop: LoopFactory, end: str) -> None:
    """P15, P38: the peer is gone as soon as its bytes are, and every frame of the last read counts."""

    async def test() -> None:
        async with tunnels() as pair:
            turns = Turns()
            counting = await two_streams(pair, turns)
            channel = pair.client._channel
            channel.write(flood([1, 3], 1000, end=True))
            if end == "close_notify":
                channel._records.close_notify()
            channel.flush()
            if end == "RST":
                channel.reset()
            elif end == "FIN":
                channel._sock.shutdown(socket.SHUT_WR)
            await until(lambda: pair.server.over)
            turns.stop()

            assert [c.received for c in counting] == [500, 500]
            assert all(c.ended and c.lost for c in counting)
            pair.client.abort("seen enough")

    run(test(), loop=loop)


def test_the_frame_of_one_byte_has_ten() -> None:
    assert len(flood([1], 1)) == HEAD_BYTES + 1
