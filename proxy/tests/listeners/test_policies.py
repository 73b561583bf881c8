"""Who is let in, and who is cut when that changes."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from proxy.listeners.live import POLICY_CHANGE
from proxy.telemetry import Flag, Outcome
from proxy.tests.listeners.cluster import Cluster, cluster
from proxy.tests.listeners.policies import ALLOW_OTHERS, STRICT
from proxy.tests.listeners.talk import echo, exchange, expect_reset, greeted
from proxy.tests.sockets import receive_exactly, run, send

pytestmark = pytest.mark.netns


def test_test_policy() -> None:
    """CONNECT from an identity that no policy allows: 401, and a reset for the app."""

    async def test() -> None:
        async with cluster(policies=[ALLOW_OTHERS]) as c:
            await c.listen("server", echo)
            await expect_reset(await c.dial("client", "server"))
            (out,) = await c.records(c.client, 1)
            (into,) = await c.records(c.server, 1)

            assert (out.outcome, out.flag) == (Outcome.DENIED, Flag.DENY)
            assert (into.outcome, into.flag) == (Outcome.DENIED, Flag.DENY)
            assert into.error == "allow policies exist, but none allowed"
            assert c.server.stats.connects_denied == 1

    run(test())


def test_strict_refuses_plaintext_and_takes_hbone() -> None:
    """T54."""

    async def test() -> None:
        async with cluster(policies=[STRICT]) as c:
            await c.listen("server", echo)
            await expect_reset(await c.dial("outside", "server"))
            await exchange(c, "client", "server")
            denied = c.server.telemetry.completed[0]

            assert (denied.outcome, denied.policy) == (Outcome.DENIED, "/strict")

    run(test())


async def both_ways(c: Cluster) -> tuple[socket.socket, socket.socket]:
    """Two callers that the app has greeted: through a tunnel, and in plaintext."""
    await c.listen("server", echo)
    through_tunnel, plain = await c.dial("client", "server"), await c.dial("outside", "server")
    await greeted(through_tunnel)
    await greeted(plain)
    return through_tunnel, plain


def test_change_of_policy_cuts_who_is_denied_now() -> None:
    """T55: within a turn of the loop; others keep every byte."""

    async def test() -> None:
        async with cluster() as c:
            through_tunnel, plain = await both_ways(c)
            c.apply(STRICT)
            await expect_reset(plain)
            await send(through_tunnel, b"still here")
            assert await receive_exactly(through_tunnel, 10) == b"still here"
            c.apply(ALLOW_OTHERS)
            await expect_reset(through_tunnel)
            await c.records(c.server, 2)

            assert all(POLICY_CHANGE in (record.error or "") for record in c.server.telemetry.completed)

    run(test())


def test_change_of_trust_domain_cuts_those_of_the_old_one() -> None:
    """T33, T55: what was proved on the tunnel is not enough any more. Plaintext proves nothing anyway."""

    async def test() -> None:
        async with cluster() as c:
            through_tunnel, plain = await both_ways(c)
            moved = [replace(each, trust_domain="elsewhere") for each in c.workloads if each.name == "server"]
            c.workloads = (c.workloads[0], *moved)
            c.apply()
            await expect_reset(through_tunnel)
            await send(plain, b"still here")
            assert await receive_exactly(plain, 10) == b"still here"
            plain.close()

    run(test())
