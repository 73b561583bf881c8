"""A pod's addresses beyond those that its workload lists: further interfaces, virtual addresses on lo."""

from __future__ import annotations

import asyncio
import socket

import pytest

from proxy.net.namespace import inside
from proxy.telemetry import Outcome
from proxy.tests.listeners.cluster import ADDRESSES, PORT, Cluster, cluster
from proxy.tests.listeners.policies import STRICT
from proxy.tests.listeners.talk import echo, expect_reset, greeted
from proxy.tests.namespaces import run_in
from proxy.tests.sockets import receive_all, run, send

pytestmark = pytest.mark.netns

FURTHER = "10.98.0.9"
"""Nobody's, until a test gives it to somebody."""


def add_further(c: Cluster, pod: str) -> None:
    run_in(c.namespaces[pod], "ip", "address", "add", f"{FURTHER}/32", "dev", "lo")


async def dial_further(c: Cluster, source: str, *, via: str | None = None, port: int = PORT) -> socket.socket:
    if via is not None:
        run_in(c.namespaces[source], "ip", "route", "add", f"{FURTHER}/32", "via", ADDRESSES[via])
    return await c.dial(source, FURTHER, port)


@pytest.mark.parametrize("port", [15001, 15006, 15008])
def test_a_call_to_the_proxy_on_any_address_is_refused_at_the_first(port: int) -> None:
    """P07, T52, I7: passed on, it would come back as the next call, until no descriptor is left."""

    async def test() -> None:
        async with cluster() as c:
            add_further(c, "client")
            # istio-cni's rules let through what leaves by lo; others capture it.
            rule = ("OUTPUT", "!", "-d", "127.0.0.1/32", "-o", "lo", "-j", "ACCEPT")
            run_in(c.namespaces["client"], "iptables-legacy", "-t", "nat", "-D", *rule)
            sock = await dial_further(c, "client", port=port)
            await expect_reset(sock)
            (record,) = await c.records(c.client, 1)

            assert "self call" in (record.error or "")
            assert c.client.stats.accepted_outbound == 1
            assert c.client.stats.accepted_inbound == 0

    run(test())


def test_a_direct_call_of_the_listener_is_refused_at_the_first() -> None:
    """P07, T52, B73."""

    async def test() -> None:
        async with cluster() as c:
            add_further(c, "client")
            await expect_reset(await dial_further(c, "client", port=15001))
            (record,) = await c.records(c.client, 1)

            assert "self call" in (record.error or "")
            assert c.client.stats.accepted_outbound == 1

    run(test())


def test_plaintext_to_a_further_address_of_the_pod_passes() -> None:
    """P14: its interfaces beyond the first are in no document."""

    async def test() -> None:
        async with cluster() as c:
            add_further(c, "server")
            with inside(c.namespaces["server"].fd):
                app = socket.create_server((FURTHER, PORT))
            c.servers.append(await asyncio.start_server(echo, sock=app))
            with await dial_further(c, "outside", via="server") as sock:
                assert await greeted(sock) == ADDRESSES["outside"]
                await send(sock, b"hello")
                sock.shutdown(socket.SHUT_WR)
                assert await receive_all(sock) == b"hello"
            (record,) = await c.records(c.server, 1)

            assert (record.outcome, record.error) == (Outcome.PASSTHROUGH, None)

    run(test())


def test_policies_hold_for_a_further_address() -> None:
    """P14: what it passes by is the document alone."""

    async def test() -> None:
        async with cluster(policies=[STRICT]) as c:
            add_further(c, "server")
            await expect_reset(await dial_further(c, "outside", via="server"))
            (record,) = await c.records(c.server, 1)

            assert record.outcome is Outcome.DENIED

    run(test())


def test_a_pod_passes_nothing_on_to_elsewhere() -> None:
    """P14: who takes the pod for a router does not reach others in its name."""

    async def test() -> None:
        async with cluster() as c:
            await expect_reset(await dial_further(c, "outside", via="server"))
            (record,) = await c.records(c.server, 1)

            assert "is no address of ns/server" in (record.error or "")

    run(test())
