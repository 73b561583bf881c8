"""P44, B06: connections of one tunnel whose readers have stopped, and one that goes on beside them."""

from __future__ import annotations

import asyncio
import os
import socket
from hashlib import sha256

import pytest

from proxy.hbone.windows import RESERVE, RESERVE_BYTES
from proxy.tests.sockets import LOOPS, LoopFactory, receive_exactly, run, send
from proxy.tests.tunnel.pair import Relayed, tunnels

STALLED = 5
"""Each has a stream's window of 4 MiB under way; the connection's has room for four of them."""


@pytest.fixture(params=list(LOOPS.values()), ids=list(LOOPS))
def loop(request: pytest.FixtureRequest) -> LoopFactory:
    factory: LoopFactory = request.param
    return factory


@pytest.mark.parametrize("sixth", ["there before", "new"])
@pytest.mark.parametrize("direction", ["download", "upload"])
def test_a_sixth_connection_goes_on_beside_five_that_stall(
    loop: LoopFactory, direction: str, sixth: str
) -> None:
    """P44, B06: and when their readers go on, all is there and the reserve as it was."""

    async def test() -> None:
        async with tunnels() as pair:
            first = await pair.relayed(pair.first)
            relays = [await pair.relayed() for _ in range(STALLED)]
            ways = [(r.backend, r.app) if direction == "download" else (r.app, r.backend) for r in relays]
            sent = [await pair.fill(sender) for sender, _ in ways]
            assert RESERVE.left < RESERVE_BYTES
            await busy(first if sixth == "there before" else await pair.relayed())
            for r, (sender, reader), length in zip(relays, ways, sent, strict=True):
                sender.shutdown(socket.SHUT_WR)
                assert len(await receive_exactly(reader, length + 1)) == length
                reader.shutdown(socket.SHUT_WR)
                await asyncio.wait([r.client_task, r.server_task])
            assert RESERVE.left == RESERVE_BYTES
            for r in (first, *relays):
                r.close()

    run(test(), loop=loop)


async def busy(r: Relayed) -> None:
    """Small exchanges, and then more both ways than any window has."""
    for _ in range(200):
        await send(r.app, b"?" * 64)
        assert await receive_exactly(r.backend, 64) == b"?" * 64
        await send(r.backend, b"!" * 64)
        assert await receive_exactly(r.app, 64) == b"!" * 64
    payload = os.urandom(20 << 20)
    async with asyncio.TaskGroup() as group:
        for near, far in ((r.app, r.backend), (r.backend, r.app)):
            group.create_task(send(near, payload))
            group.create_task(arrives(far, payload))
    r.close()


async def arrives(sock: socket.socket, payload: bytes) -> None:
    assert sha256(await receive_exactly(sock, len(payload))).digest() == sha256(payload).digest()


@pytest.mark.parametrize("direction", ["download", "upload"])
def test_a_tunnel_that_goes_leaves_nothing_of_the_reserve_taken(loop: LoopFactory, direction: str) -> None:
    """P44: stalled readers and all."""

    async def test() -> None:
        async with tunnels() as pair:
            relays = [await pair.relayed(pair.first), *[await pair.relayed() for _ in range(STALLED)]]
            for r in relays:
                await pair.fill(r.backend if direction == "download" else r.app)
            assert RESERVE.left < RESERVE_BYTES
            pair.server.abort("killed")
            await asyncio.wait([t for r in relays for t in (r.client_task, r.server_task)])

            assert RESERVE.left == RESERVE_BYTES
            for r in relays:
                r.close()

    run(test(), loop=loop)
