"""F11: connections of every shape behave through a tunnel as over plain TCP.

Much data is the 5 GiB of `make soak` (soak/transfer) and of hbone/test_windows.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from proxy.relay.outcome import End, Outcome
from proxy.tests.sockets import receive_all, receive_exactly, run, send, until
from proxy.tests.tunnel.pair import Relayed, tunnels
from proxy.tunnel.tunnel import Timing


async def zero_bytes(r: Relayed) -> None:
    r.app.shutdown(socket.SHUT_WR)
    assert await receive_all(r.backend) == b""
    r.backend.shutdown(socket.SHUT_WR)
    assert await receive_all(r.app) == b""


async def both_close_at_once(r: Relayed) -> None:
    r.app.shutdown(socket.SHUT_WR)
    r.backend.shutdown(socket.SHUT_WR)
    assert (await receive_all(r.app), await receive_all(r.backend)) == (b"", b"")


async def server_first(r: Relayed) -> None:
    await send(r.backend, b"220 ready\r\n")
    assert await receive_exactly(r.app, 11) == b"220 ready\r\n"
    await zero_bytes(r)


async def one_byte_at_a_time(r: Relayed) -> None:
    for value in range(256):
        byte = bytes([value])
        await send(r.app, byte)
        assert await receive_exactly(r.backend, 1) == byte
        await send(r.backend, byte)
        assert await receive_exactly(r.app, 1) == byte
    await zero_bytes(r)


@pytest.mark.parametrize("shape", [zero_bytes, both_close_at_once, server_first, one_byte_at_a_time])
def test_ends_clean(shape: Callable[[Relayed], Awaitable[None]]) -> None:
    async def test() -> None:
        async with tunnels() as pair:
            r = await pair.relayed(pair.first)
            await shape(r)

            assert await r.client_task == await r.server_task == Outcome(End.CLEAN)
            r.close()

    run(test())


def test_close_with_unread_data_is_a_reset() -> None:
    """The kernel resets a connection whose owner leaves without having read; so does the other end's."""

    async def test() -> None:
        async with tunnels() as pair:
            r = await pair.relayed(pair.first)
            await send(r.backend, b"never read")
            await until(lambda: r.client.downloaded == len(b"never read"))
            r.app.close()

            with pytest.raises(ConnectionResetError):
                await receive_all(r.backend)
            assert (await r.client_task).end is End.NEAR_RESET
            assert (await r.server_task).end is End.FAR_RESET
            r.close()

    run(test())


def test_an_idle_connection_outlives_many_pings() -> None:
    """An hour's idle time in little: a stream without a byte is cut by no timer of the tunnel's."""

    async def test() -> None:
        async with tunnels(timing=Timing(ping_interval_s=0.01)) as pair:
            r = await pair.relayed(pair.first)
            pings: set[float] = set()
            while len(pings) < 10:
                pings.add(pair.client._keepalive.pinged_at)
                await asyncio.sleep(0)
            await server_first(r)

            assert await r.client_task == Outcome(End.CLEAN)
            r.close()

    run(test())
