"""A service in front of three pods on three nodes, one of them the client's own."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace

import pytest

from proxy.config import SameNode
from proxy.state.model import BalancerMode, BalancerScope, Health, LoadBalancer
from proxy.tests.listeners.cluster import PORT, Cluster, Handle, cluster
from proxy.tests.listeners.policies import ALLOW_OTHERS
from proxy.tests.listeners.talk import expect_reset
from proxy.tests.mesh import service
from proxy.tests.namespaces import run_in
from proxy.tests.sockets import receive_all, run

pytestmark = pytest.mark.netns

VIP = "10.96.0.1"
PODS = {"client": "node-a", "near": "node-a", "server": "node-b", "far": "node-c"}
ENDPOINTS = {"near", "server", "far"}
WEB = service("web", VIP, ports={80: PORT})
CONNECTIONS = 90


def naming(name: str) -> Handle:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(name.encode())
        writer.close()

    return answer


async def served(c: Cluster) -> None:
    """Apps that say who they are, behind one address."""
    run_in(c.namespaces["client"], "ip", "route", "add", "10.96.0.0/16", "dev", "eth0")
    for name in ENDPOINTS:
        await c.listen(name, naming(name))
    c.services = (WEB,)
    c.workloads = tuple(
        replace(each, services={WEB.key: {80: PORT}}) if each.name in ENDPOINTS else each
        for each in c.workloads
    )
    c.apply()


async def answers(c: Cluster) -> Counter[str]:
    """Who answered how often."""
    found: Counter[str] = Counter()
    for _ in range(CONNECTIONS):
        with await c.dial("client", VIP, 80) as sock:
            found[(await receive_all(sock)).decode()] += 1
    return found


@pytest.mark.parametrize(("same_node", "tunnels"), [(SameNode.HBONE, 3), (SameNode.PLAINTEXT, 2)])
def test_service_loadbalancing(same_node: SameNode, tunnels: int) -> None:
    """Load is spread over the nodes, whatever carries it to the client's own; policies hold on each."""

    async def test() -> None:
        async with cluster(pods=PODS, same_node=same_node) as c:
            await served(c)
            shares = await answers(c)
            assert set(shares) == ENDPOINTS
            assert min(shares.values()) > CONNECTIONS / 3 / 2
            assert c.client.stats.tunnels_opened == tunnels
            records = await c.records(c.client, CONNECTIONS)
            assert all(record.error is None for record in records)
            assert {record.service for record in records if record.service} == {WEB}

            c.apply(ALLOW_OTHERS)
            for _ in range(6):
                await expect_reset(await c.dial("client", VIP, 80))

    run(test())


def test_an_endpoint_that_is_not_healthy_gets_nothing() -> None:
    async def test() -> None:
        async with cluster(pods=PODS) as c:
            await served(c)
            c.workloads = tuple(
                replace(each, status=Health.UNHEALTHY) if each.name == "far" else each for each in c.workloads
            )
            c.apply()

            assert set(await answers(c)) == {"near", "server"}

    run(test())


def test_the_own_node_is_preferred_and_left_when_it_fails() -> None:
    async def test() -> None:
        async with cluster(pods=PODS) as c:
            await served(c)
            preferring = LoadBalancer(mode=BalancerMode.FAILOVER, preferences=(BalancerScope.NODE,))
            c.services = (replace(WEB, balancer=preferring),)
            c.apply()
            assert set(await answers(c)) == {"near"}
            c.workloads = tuple(each for each in c.workloads if each.name != "near")
            c.apply()
            assert set(await answers(c)) == {"server", "far"}

    run(test())
