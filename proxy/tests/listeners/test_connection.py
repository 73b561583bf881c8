"""What is told of a connection: who was asked for, by whom, and how much was carried, on both sides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from proxy.config import SameNode
from proxy.listeners.connection import service_of
from proxy.state.mesh import MeshState
from proxy.state.model import Service
from proxy.telemetry import ConnectionRecord, Direction, Flag
from proxy.telemetry.access import fields
from proxy.tests.listeners.cluster import ADDRESSES, ONE_NODE, PORT, TWO_NODES, Cluster, cluster
from proxy.tests.listeners.policies import ALLOW_OTHERS
from proxy.tests.listeners.talk import echo, exchange, expect_reset, greeted
from proxy.tests.mesh import service, workload
from proxy.tests.namespaces import run_in
from proxy.tests.scrapes import scrape, value
from proxy.tests.sockets import receive_exactly, run, send, until

VIP = "10.96.0.1"
WEB, OTHER = service("web", VIP, ports={80: PORT}), service("other", "10.96.0.2", ports={81: PORT})
BY_POD = service("by-pod", "10.96.0.3", ports={82: 0})
OPENED = "istio_tcp_connections_opened_total"
FAILED = "istio_tcp_connections_failed_total"
RECEIVED, SENT = "istio_tcp_received_bytes_total", "istio_tcp_sent_bytes_total"


@pytest.mark.parametrize(
    ("services", "port", "named", "expected"),
    [
        ((WEB, OTHER), PORT, OTHER.hostname, OTHER),
        ((WEB, OTHER), PORT, None, WEB),
        ((WEB, OTHER), PORT, "bank.evil.svc", WEB),
        ((WEB, OTHER), 9999, None, None),
        ((WEB, OTHER), 9999, OTHER.hostname, OTHER),
        ((BY_POD, WEB), 7000, None, BY_POD),
        ((), PORT, WEB.hostname, None),
    ],
    ids=["P13-named", "P13-port", "P13-stranger", "P13-no-port", "P13-name", "P13-pods-port", "P13-none"],
)
def test_the_service_is_one_of_the_pods_own(
    services: Sequence[Service], port: int, named: str | None, expected: Service | None
) -> None:
    """Source: ztunnel's guess_inbound_service."""
    own = workload("server", "10.0.0.2", services={each.key: {82: 7000} for each in services})
    state = MeshState(workloads=[own], services=[WEB, OTHER, BY_POD])

    assert service_of(state, own, port, named=named) is expected


async def served(c: Cluster) -> None:
    """The server behind two services on one port."""
    run_in(c.namespaces["client"], "ip", "route", "add", "10.96.0.0/16", "dev", "eth0")
    await c.listen("server", echo)
    c.services = (OTHER, WEB)
    c.workloads = tuple(
        replace(each, services={OTHER.key: {81: PORT}, WEB.key: {80: PORT}})
        if each.name == "server"
        else each
        for each in c.workloads
    )
    c.apply()


async def one(c: Cluster, source: str, destination: str, port: int) -> ConnectionRecord:
    """The server's record of one connection."""
    before = len(c.server.telemetry.completed)
    with await c.dial(source, destination, port) as sock:
        await greeted(sock)
    return (await c.records(c.server, before + 1))[before]


@pytest.mark.netns
def test_inbound_names_the_service_that_was_dialled() -> None:
    """P13: as the source's proxy says, or by the port."""

    async def test() -> None:
        async with cluster() as c:
            await served(c)
            named = await one(c, "client", VIP, 80)
            plain = await one(c, "outside", "server", PORT)

            assert (named.service, plain.service) == (WEB, OTHER)
            assert fields(named)["dst.service"] == WEB.hostname
            samples = await scrape(c.server.telemetry)
            assert value(samples, OPENED, reporter="destination", destination_service=WEB.hostname) == 1

    run(test())


@pytest.mark.netns
def test_a_source_that_the_mesh_does_not_know_is_labelled_by_its_baggage() -> None:
    """P13, T62: its identity is what TLS proved, and policies see nothing else."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            client, server = c.workloads
            told = replace(client, workload_name="far-away", canonical_name="shop", cluster="c9")
            c.client.context.store.replace(MeshState(version=7, workloads=(told, server)))
            c.server.context.store.replace(MeshState(version=7, workloads=(server,)))
            record = await one(c, "client", "server", PORT)

            assert record.source is None
            assert record.source_identity == client.identity
            samples = await scrape(c.server.telemetry)
            assert value(samples, OPENED, source_workload="far-away", source_cluster="c9") == 1
            assert value(samples, OPENED, source_principal=str(client.identity)) == 1

    run(test())


@pytest.mark.netns
def test_the_inbound_line_has_the_tunnels_port_and_what_was_asked_for() -> None:
    """P21."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            told = fields(await one(c, "client", "server", PORT))

            assert told["dst.addr"] == f"{ADDRESSES['server']}:15008"
            assert told["dst.hbone_addr"] == f"{ADDRESSES['server']}:{PORT}"

    run(test())


@pytest.mark.netns
@pytest.mark.parametrize("pods", [TWO_NODES, ONE_NODE], ids=["hbone", "plaintext"])
def test_bytes_move_while_the_connection_lives(pods: dict[str, str]) -> None:
    """P06: through a tunnel, and from pod to pod of a node without one."""

    async def test() -> None:
        async with cluster(pods=pods, same_node=SameNode.PLAINTEXT) as c:
            await c.listen("server", echo)
            with await c.dial("client", "server") as sock:
                greeting = len(await greeted(sock)) + 1
                for turn in (1, 2):
                    await send(sock, b"hello")
                    await receive_exactly(sock, 5)
                    for node in (c.client, c.server):
                        samples = await scrape(node.telemetry)
                        assert value(samples, RECEIVED) == 5 * turn
                        assert value(samples, SENT) == greeting + 5 * turn
                        assert node.stats.bytes_sent == 5 * turn

    run(test())


@pytest.mark.netns
def test_a_refused_connection_is_an_attempt_that_failed() -> None:
    """Opened at the attempt, on both sides, as in ztunnel."""

    async def test() -> None:
        async with cluster(policies=[ALLOW_OTHERS]) as c:
            await c.listen("server", echo)
            await expect_reset(await c.dial("client", "server"))
            for node, flag in ((c.client, Flag.DENY), (c.server, Flag.DENY)):
                await c.records(node, 1)
                samples = await scrape(node.telemetry)
                assert value(samples, OPENED) == 1
                assert value(samples, FAILED, response_flags=flag.value) == 1

    run(test())


@pytest.mark.netns
def test_open_sockets_are_those_that_were_accepted() -> None:
    """An app's on its own side; on the other the tunnel's, which outlives the connection."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            with await c.dial("client", "server") as sock:
                await greeted(sock)
                both = c.client.telemetry.sockets, c.server.telemetry.sockets
                assert [each[Direction.OUTBOUND] for each in both] == [1, 0]
                assert [each[Direction.INBOUND] for each in both] == [0, 1]
            await until(lambda: not c.client.telemetry.sockets[Direction.OUTBOUND])
            assert c.server.telemetry.sockets[Direction.INBOUND] == 1
            await exchange(c, "outside", "server")
            c.client.context.tunnels.drop()
            await until(lambda: not c.server.telemetry.sockets[Direction.INBOUND])

    run(test())
