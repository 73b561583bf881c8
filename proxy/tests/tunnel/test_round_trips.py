"""How many round trips a first byte costs: on a link with a delay it is told by a clock."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import inf
from time import monotonic

from proxy.tests.sockets import receive_exactly, run, send, tcp_pair
from proxy.tests.tunnel.pair import Relayed, tunnels

DELAY_S = 0.1
"""One way; much more than all the computing on it."""
TCP = 1
"""Round trips of the connect, which is over when a link is made."""
TIMES = 6


@asynccontextmanager
async def delayed() -> AsyncIterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a link on which everything takes its time, in either direction."""
    near, near_middle = tcp_pair()
    far_middle, far = tcp_pair()
    loop = asyncio.get_running_loop()

    async def carry(source: socket.socket, target: socket.socket) -> None:
        while data := await loop.sock_recv(source, 1 << 16):
            loop.call_later(DELAY_S, target.send, data)

    async with asyncio.TaskGroup() as group:
        ways = [
            group.create_task(carry(*way)) for way in ((near_middle, far_middle), (far_middle, near_middle))
        ]
        yield near, far
        for way in ways:
            way.cancel()
    near_middle.close()
    far_middle.close()


async def answered(r: Relayed) -> float:
    """When the app has the first byte of an answer."""
    await send(r.app, b"?")
    await receive_exactly(r.backend, 1)
    await send(r.backend, b"!")
    assert await receive_exactly(r.app, 1) == b"!"
    now = monotonic()
    r.close()
    return now


def test_a_cold_first_byte_is_four_round_trips_and_a_warm_one_two() -> None:
    """TCP, TLS, CONNECT and its 200, then the app's own. A busy machine can only add to it."""
    cold, warm = [inf], [inf]

    async def once() -> None:
        async with delayed() as link:
            began = monotonic()
            async with tunnels(link=link) as pair:
                cold.append((await answered(await pair.relayed(pair.first)) - began) / (2 * DELAY_S))
                began = monotonic()
                warm.append((await answered(await pair.relayed()) - began) / (2 * DELAY_S))

    while len(cold) <= TIMES and (min(cold) >= 4 or min(warm) >= 3):
        run(once())

    assert 4 <= TCP + min(cold) < 5
    assert 2 <= min(warm) < 3
