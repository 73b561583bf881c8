"""Two proxies between real apps in real namespaces, under the names that ztunnel gives its scenarios."""

from __future__ import annotations

import asyncio
import os
import socket
from hashlib import sha256

import pytest

from proxy.config import Reuse, SameNode, Settings
from proxy.telemetry import Direction, Flag, Outcome
from proxy.telemetry.journal import FIELDS
from proxy.tests.listeners.cluster import ADDRESSES, PORT, Cluster, cluster
from proxy.tests.listeners.policies import ALLOW_OTHERS, CLIENT, SERVER, STRICT
from proxy.tests.listeners.talk import echo, exchange, expect_reset, greeted
from proxy.tests.namespaces import run_in
from proxy.tests.sockets import receive_all, receive_exactly, reset, run, send, until

pytestmark = pytest.mark.netns


@pytest.mark.parametrize("nodes", [1, 2], ids=["local_captured_inpod", "cross_node_captured_inpod"])
def test_captured_to_captured(nodes: int) -> None:
    async def test() -> None:
        async with cluster(nodes=nodes) as c:
            await c.listen("server", echo)
            assert await exchange(c, "client", "server") == ADDRESSES["client"]
            await c.records(c.client, 1 if nodes == 2 else 2)
            await c.records(c.server, 1)
            (out,) = (r for r in c.client.telemetry.completed if r.direction is Direction.OUTBOUND)
            (into,) = (r for r in c.server.telemetry.completed if r.direction is Direction.INBOUND)

            assert (out.outcome, into.outcome) == (Outcome.HBONE, Outcome.HBONE)
            assert (out.error, into.error) == (None, None)
            assert (out.source_identity, out.destination_identity) == (CLIENT, SERVER)
            assert (into.source_identity, into.destination_identity) == (CLIENT, SERVER)
            greeting = len(ADDRESSES["client"]) + 1
            assert (out.bytes_sent, out.bytes_received) == (5, 5 + greeting)
            assert (into.bytes_sent, into.bytes_received) == (5, 5 + greeting)
            assert out.trace_id == into.trace_id
            assert out.hbone_address == f"{ADDRESSES['server']}:{PORT}"
            stats = c.server.stats
            assert (stats.connects_received, stats.connects_accepted, stats.tls_resumptions) == (1, 1, 0)
            assert c.client.stats.streams_opened == 1

    run(test())


def test_phases_are_in_order() -> None:
    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            await exchange(c, "client", "server")
            (record,) = await c.records(c.client, 1)
            (far,) = await c.records(c.server, 1)
            p, q = record.phases, far.phases
            moments = [
                record.accepted_ns,
                p.original_destination_ns,
                p.route_ns,
                p.pool_ns,
                p.tcp_ns,
                p.tls_ns,
                p.connect_sent_ns,
                far.accepted_ns,
                q.policy_ns,
                q.app_connect_ns,
                q.answered_ns,
                p.connect_ns,
                q.first_received_ns,  # this app is the first to speak
                p.first_received_ns,
                p.first_sent_ns,
                q.first_sent_ns,
            ]

            assert None not in moments
            assert moments == sorted(moment for moment in moments if moment is not None)
            assert p.tunnel_ns == p.tls_ns
            assert p.settings_ns is not None
            assert record.trace_id == far.trace_id
            assert (1, 1) == (record.stream_id, far.stream_id)

    run(test())


def test_a_connection_on_a_tunnel_that_was_there_says_so() -> None:
    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            await exchange(c, "client", "server")
            await exchange(c, "client", "server")
            first, second = await c.records(c.client, 2)
            p = second.phases

            assert (p.tcp_ns, p.tls_ns, p.settings_ns) == (None, None, None)
            assert p.tunnel_ns == first.phases.tunnel_ns
            assert second.stream_id == 3
            assert p.pool_ns is not None
            assert p.connect_sent_ns is not None
            assert second.accepted_ns < p.pool_ns < p.connect_sent_ns

    run(test())


def test_a_journal_holds_both_ends_of_a_connection() -> None:
    """Joined by trace; our end of the leg to the app is the address that the app sees."""
    seen: list[tuple[str, int]] = []

    async def witness(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[:2])
        await echo(reader, writer)

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", witness)
            for node in (c.client, c.server):
                node.telemetry.journal.open(8)
            await exchange(c, "client", "server")
            await c.records(c.client, 1)
            await c.records(c.server, 1)
            rows = [
                dict(zip(FIELDS, node.telemetry.journal.take()["rows"][0], strict=True))  # type: ignore[index]
                for node in (c.client, c.server)
            ]

            assert [row["direction"] for row in rows] == ["outbound", "inbound"]
            assert rows[0]["trace"] == rows[1]["trace"] != ""
            assert rows[1]["own_end"] == f"{seen[0][0]}:{seen[0][1]}"
            assert rows[0]["target"] == f"{ADDRESSES['server']}:{PORT}"

    run(test())


def test_server_uncaptured_inpod() -> None:
    async def test() -> None:
        async with cluster() as c:
            await c.listen("outside", echo)
            assert await exchange(c, "client", "outside") == ADDRESSES["client"]
            (record,) = await c.records(c.client, 1)

            assert record.outcome is Outcome.PASSTHROUGH
            assert record.destination_identity is None
            assert c.client.stats.tunnels_opened == 0

    run(test())


def test_client_uncaptured_inpod() -> None:
    """Plaintext from outside, through 15006; the app still sees who calls."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            assert await exchange(c, "outside", "server") == ADDRESSES["outside"]
            (record,) = await c.records(c.server, 1)

            assert (record.direction, record.outcome) == (Direction.INBOUND, Outcome.PASSTHROUGH)
            assert c.server.stats.accepted_inbound_plaintext == 1
            assert c.server.stats.accepted_inbound == 0

    run(test())


@pytest.mark.parametrize(("reuse", "tunnels"), [(Reuse.ON, 1), (Reuse.OFF, 5), (Reuse.OFF_SERIALISED, 5)])
def test_reuse_decides_how_many_tunnels_there_are(reuse: Reuse, tunnels: int) -> None:
    async def test() -> None:
        async with cluster(reuse=reuse) as c:
            await c.listen("server", echo)
            for _ in range(5):
                await exchange(c, "client", "server")

            assert c.client.stats.tunnels_opened == tunnels
            assert c.client.stats.tls_handshakes_client == c.server.stats.tls_handshakes_server == tunnels
            assert c.server.stats.connects_accepted == 5
            if reuse is not Reuse.ON:
                await until(lambda: c.client.stats.tunnels_outbound == c.server.stats.tunnels_inbound == 0)

    run(test())


def test_dropped_tunnels_are_gone_on_both_sides_and_come_back() -> None:
    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            await exchange(c, "client", "server")
            c.client.context.tunnels.drop()
            await until(lambda: c.client.stats.tunnels_outbound == c.server.stats.tunnels_inbound == 0)
            await exchange(c, "client", "server")

            assert c.client.stats.tunnels_opened == 2

    run(test())


def test_refusing_backend_is_a_reset_soon() -> None:
    """F07: 503, and the other streams of the tunnel do not notice."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            kept = await c.dial("client", "server")
            await greeted(kept)
            await expect_reset(await c.dial("client", "server", port=PORT + 1))
            await send(kept, b"still here")
            assert await receive_exactly(kept, 10) == b"still here"
            kept.close()
            (out, *_) = await c.records(c.client, 1)

            assert (out.outcome, out.flag, out.error) == (
                Outcome.FAILED,
                Flag.CONNECT,
                "CONNECT was answered with 503",
            )
            assert c.server.stats.connects_failed == 1

    run(test())


def test_silent_backend_is_a_reset_at_the_dials_limit() -> None:
    """F08: SYNs vanish; 503 when the limit has passed, and other streams of the tunnel do not notice."""

    async def test() -> None:
        async with cluster(connect_timeout_s=0.5) as c:
            await c.listen("server", echo)
            drop = ("-p", "tcp", "-m", "tcp", "--dport", str(PORT + 1), "-j", "DROP")
            run_in(c.namespaces["server"], "iptables-legacy", "-w", "-A", "INPUT", *drop)
            with await c.dial("client", "server") as kept:
                await greeted(kept)
                lost = await c.dial("client", "server", port=PORT + 1)
                await send(kept, b"meanwhile")
                assert await receive_exactly(kept, 9) == b"meanwhile"
                await expect_reset(lost)
                (out,) = await c.records(c.client, 1)
                (into,) = await c.records(c.server, 1)

            assert (out.flag, out.error) == (Flag.CONNECT, "CONNECT was answered with 503")
            assert "no answer in 0.5 s" in str(into.error)
            assert c.client.stats.tunnels_opened == 1

    run(test())


@pytest.mark.parametrize("path", ["tunnel", "out-of-mesh", "into-mesh", "same-node-plaintext"])
@pytest.mark.parametrize("first", ["caller", "app"])
def test_half_close_lets_late_data_through(path: str, first: str) -> None:
    """F10 on every path."""

    async def test() -> None:
        async with joined(path) as (caller, app):
            early, late = (caller, app) if first == "caller" else (app, caller)
            payload = os.urandom(10 * 1024 * 1024)
            early.shutdown(socket.SHUT_WR)
            assert await receive_all(late) == b""
            async with asyncio.TaskGroup() as group:
                group.create_task(send(late, payload))
                received = await receive_exactly(early, len(payload))
            late.shutdown(socket.SHUT_WR)

            assert await receive_all(early) == b""
            assert sha256(received).digest() == sha256(payload).digest()

    run(test())


@pytest.mark.parametrize("path", ["tunnel", "out-of-mesh", "into-mesh", "same-node-plaintext"])
@pytest.mark.parametrize("who", ["caller", "app"])
def test_reset_stays_a_reset(path: str, who: str) -> None:
    """F09, I6 on every path."""

    async def test() -> None:
        async with joined(path) as (caller, app):
            await send(caller, b"x")
            await receive_exactly(app, 1)
            victim = app if who == "caller" else caller
            reset(caller if who == "caller" else app)
            await expect_reset(victim)

    run(test())


class joined:  # noqa: N801  used like a function
    """A caller and an app's accepted socket, joined by one of the paths."""

    def __init__(self, path: str) -> None:
        self._ends = {
            "tunnel": ("client", "server"),
            "out-of-mesh": ("client", "outside"),
            "into-mesh": ("outside", "server"),
            "same-node-plaintext": ("client", "server"),
        }[path]
        local = path == "same-node-plaintext"
        self._cluster = cluster(
            nodes=1 if local else 2, same_node=SameNode.PLAINTEXT if local else SameNode.HBONE
        )

    async def __aenter__(self) -> tuple[socket.socket, socket.socket]:
        c = await self._cluster.__aenter__()
        source, destination = self._ends
        listener = await c.listening_socket(destination)
        caller = await c.dial(source, destination)
        app, _ = await asyncio.get_running_loop().sock_accept(listener)
        listener.close()
        self._sockets = (caller, app)
        return self._sockets

    async def __aexit__(self, *exc: object) -> None:
        for sock in self._sockets:
            sock.close()
        await self._cluster.__aexit__(None, None, None)


def test_same_node_plaintext_leaves_the_tunnel_out_and_keeps_policy_and_source() -> None:
    async def test() -> None:
        async with cluster(nodes=1, same_node=SameNode.PLAINTEXT, policies=[STRICT]) as c:
            await c.listen("server", echo)
            assert await exchange(c, "client", "server") == ADDRESSES["client"]
            assert c.client.stats.tunnels_opened == 0
            assert c.client.stats.accepted_inbound_plaintext == 0
            c.apply(ALLOW_OTHERS)
            await expect_reset(await c.dial("client", "server"))

            assert c.client.telemetry.completed[-1].outcome is Outcome.DENIED

    run(test())


def test_nothing_is_guessed_before_the_first_state() -> None:
    """T64: held, then refused; and served when the state comes in time."""
    assert Settings().readiness_wait_s == 5

    async def test() -> None:
        async with cluster(with_state=False, readiness_wait_s=0.2) as c:
            await c.listen("server", echo)
            await expect_reset(await c.dial("client", "server"))
            await expect_reset(await c.dial("outside", "server"))
            assert c.client.telemetry.completed[0].outcome is Outcome.FAILED
        async with cluster(with_state=False) as c:
            await c.listen("server", echo)
            sock = await c.dial("client", "server")
            await until(lambda: c.client.stats.accepted_outbound == 1)
            c.apply()
            assert await greeted(sock) == ADDRESSES["client"]
            sock.close()

    run(test())


def test_stale_tunnel_costs_the_app_nothing() -> None:
    """F05: the peer's proxy has gone and come back; the first connection afterwards does not see it."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            await exchange(c, "client", "server")
            for tunnel in list(c.server.pods["server"]._inbound._tunnels):
                tunnel._channel._loop.remove_reader(tunnel._channel._fd)
                tunnel.drain()
                tunnel._channel.flush()
                tunnel.abort("proxy restarted")
            await exchange(c, "client", "server")

            assert c.client.stats.tunnels_opened == 2
            assert all(record.error is None for record in await c.records(c.client, 2))

    run(test())


def test_hundred_first_connections_share_one_tunnel() -> None:
    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            async with asyncio.TaskGroup() as group:
                for _ in range(100):
                    group.create_task(exchange_quietly(c))
            assert c.client.stats.tunnels_opened == 1
            await until(lambda: c.client.stats.completed_outbound_hbone == 100)

    run(test())


async def exchange_quietly(c: Cluster) -> None:
    await exchange(c, "client", "server")


def test_aborted_connections_leave_nothing_behind() -> None:
    """F13: streams, tasks and descriptors return to where they were."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            await exchange(c, "client", "server")
            dialers = [handle._pod.dialer for node in (c.client, c.server) for handle in node.pods.values()]
            await until(lambda: not any(dialer._due for dialer in dialers))  # sockets made ahead are there
            before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208  counted, not read
            for _ in range(100):
                sock = await c.dial("client", "server")
                await greeted(sock)
                reset(sock)
            await until(lambda: c.client.stats.completed_outbound_hbone == 101)
            await until(lambda: len(c.server.telemetry.completed) == 101)
            (tunnel,) = c.server.pods["server"]._inbound._tunnels
            await until(lambda: tunnel.live == 0)
            await until(lambda: len(os.listdir("/proc/self/fd")) <= before)  # noqa: PTH208

            assert len(c.client.pods["client"]._pod.tasks) == 0
            assert len(tunnel._streams) == 0

    run(test())
