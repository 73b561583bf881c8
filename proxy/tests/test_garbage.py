"""What is over is gone: connections and tunnels are freed by their last reference, whatever ended them.

What refers to itself is freed by the collector alone: later, all at once, with all the traffic
waiting, and in a heap that has grown around it by then.
"""

from __future__ import annotations

import asyncio
import gc
import socket
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress

import pytest

from proxy.config import Loop, Reuse
from proxy.explicit.socks import Reply, reply
from proxy.main import loop_factory
from proxy.routing import HBONE_PORT
from proxy.tests.explicit.reach import GREETING, NAME, Reach, name, packed, reach
from proxy.tests.sockets import receive_all, receive_exactly, reset, send, until

TIMES = 5


async def asked(r: Reach) -> socket.socket:
    sock, answer = await r.ask(name(NAME), 80)
    assert answer == reply(Reply.SUCCEEDED)
    return sock


async def clean(r: Reach) -> None:
    with await asked(r) as sock:
        await send(sock, b"x" * 1000)
        sock.shutdown(socket.SHUT_WR)
        assert await receive_all(sock) == b"x" * 1000


async def aborted(r: Reach) -> None:
    sock = await asked(r)
    await send(sock, b"x" * 1000)
    await receive_exactly(sock, 1)
    reset(sock)


async def aborted_early(r: Reach) -> None:
    sock = await r.dial()
    await send(sock, GREETING)
    await receive_exactly(sock, 2)
    await send(sock, b"\5\1\0" + name(NAME) + (80).to_bytes(2))
    reset(sock)


async def junk(r: Reach) -> None:
    with await r.dial() as sock:
        await send(sock, b"GET / HTTP/1.1\r\n\r\n")
        await receive_all(sock)


async def refused(r: Reach) -> None:
    sock, answer = await r.ask(packed(r.address), 1)
    sock.close()
    assert answer == reply(Reply.GENERAL_FAILURE)


async def no_tls(r: Reach) -> None:
    with socket.create_connection((r.address, HBONE_PORT)) as sock:
        sock.setblocking(False)
        await send(sock, b"SSH-2.0-OpenSSH_9.2\r\n")
        with suppress(ConnectionResetError):
            await receive_all(sock)


async def tunnel_dropped(r: Reach) -> None:
    await clean(r)
    r.client.context.tunnels.drop()


KINDS = (clean, aborted, aborted_early, junk, refused, no_tls, tunnel_dropped)


async def settled(r: Reach) -> None:
    """All that was carried has ended, tunnels included, and is told."""
    sides = (r.client, r.server)

    def quiet() -> bool:
        r.client.context.tunnels.drop()  # again and again: some are still being opened
        busy = any(side.telemetry.live for side in sides)
        return not (busy or r.server.telemetry.stats.tunnels_inbound)

    await until(quiet)
    for side in sides:
        side.telemetry.completed.clear()


async def left(r: Reach, kind: Callable[[Reach], Awaitable[None]]) -> Counter[str]:
    """Objects of the product that only the collector frees after some connections of a kind."""
    await kind(r)  # once for what is loaded and kept from the first time on
    await settled(r)
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(TIMES):
            await kind(r)
        await settled(r)
        gc.collect()
        kinds = [type(found) for found in gc.garbage]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    # The app and the clients are asyncio's streams and the tests' own.
    return Counter(f"{kind.__module__}.{kind.__name__}" for kind in kinds if of_the_product(kind.__module__))


def of_the_product(module: str) -> bool:
    return module.startswith("proxy.") and not module.startswith("proxy.tests.")


@pytest.mark.parametrize("reuse", Reuse)
def test_nothing_is_left_to_the_collector(reuse: Reuse) -> None:
    """F13, I5."""

    async def test() -> dict[str, Counter[str]]:
        async with reach() as r:
            r.client.context.switches.reuse = reuse
            return {kind.__name__: await left(r, kind) for kind in KINDS}

    with asyncio.Runner(loop_factory=loop_factory(Loop.AUTO)[0]) as runner:
        assert {kind.__name__: Counter() for kind in KINDS} == runner.run(test())
