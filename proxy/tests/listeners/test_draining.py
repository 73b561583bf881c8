"""What becomes of connections when a proxy or a pod goes away, under ztunnel's names."""

from __future__ import annotations

import asyncio

import pytest

from proxy.tests.listeners.cluster import cluster
from proxy.tests.listeners.talk import echo, expect_reset, greeted
from proxy.tests.sockets import receive_exactly, run, send, until

pytestmark = pytest.mark.netns


def test_ztunnel_shutdown() -> None:
    """F04: after shutdown starts, the open connection works, new ones are not taken."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            with await c.dial("client", "server") as sock:
                await greeted(sock)
                draining = asyncio.ensure_future(c.server.pods["server"].drain(20))
                await until(lambda: c.client.stats.tunnels_outbound == 1)
                await send(sock, b"late")
                assert await receive_exactly(sock, 4) == b"late"
                await expect_reset(await c.dial("client", "server"))
                assert not draining.done()
            await draining

            assert c.server.stats.tunnels_inbound == 0

    run(test())


def test_a_pod_that_takes_no_more_serves_what_it_has() -> None:
    """P08: its port is closed from that moment, so that another pod may listen there; its end takes time."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            with await c.dial("client", "server") as sock:
                await greeted(sock)
                c.client.pods["client"].stop_accepting()
                with pytest.raises(ConnectionRefusedError):
                    await c.dial("client", "server")
                await send(sock, b"late")
                assert await receive_exactly(sock, 4) == b"late"
                await c.client.pods["client"].close()
                await expect_reset(sock)

    run(test())


def test_server_shutdown() -> None:
    """A pod that is taken away resets what lives."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            sock = await c.dial("client", "server")
            await greeted(sock)
            await c.server.pods["server"].close()
            await expect_reset(sock)
            await expect_reset(await c.dial("client", "server"))
            assert c.server.stats.tunnels_inbound == 0

    run(test())


def test_shutdown_forced_drain() -> None:
    """What lives at the deadline is reset."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            sock = await c.dial("client", "server")
            await greeted(sock)
            await c.client.pods["client"].drain(0.05)
            await expect_reset(sock)
            (record,) = await c.records(c.client, 1)

            assert record.error == "closed by drain"

    run(test())
