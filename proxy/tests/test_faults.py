"""Faults between two proxies as they are run: killed, stopped, drained, cut off, left without a CA.

One process is one proxy here, so that what the kernel does for a dead one is part of the test.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from proxy.tests.bed import SERVER, Bed, bed_in, call, echo
from proxy.tests.ca import Ca, grpc_ca
from proxy.tests.calls import (
    PATIENCE_S,
    SOON,
    connect,
    established,
    fails,
    ready,
    reset_by_peer,
    round_trip,
    story,
)
from proxy.tests.namespaces import run_in

pytestmark = pytest.mark.netns


async def refused_from_now_on(bed: Bed) -> None:
    """Wait until the server's proxy takes no more: one may slip in before its GOAWAY arrives."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                await asyncio.to_thread(call, bed.client, SERVER, 8080, b"slips in")
            except (ConnectionRefusedError, ConnectionResetError):
                return


def test_killed_proxies_reset_and_pick_their_pods_up_again(tmp_path: Path) -> None:
    """F01, F02, F05: SIGKILL of either side's proxy, mid-flow; its successor needs nobody's help."""

    async def tell(bed: Bed) -> None:
        with established(bed) as (caller, app):
            bed.a.kill()
            reset_by_peer(caller)
            reset_by_peer(app)
        fails(bed.client)  # at the proxy's closed port, never past it
        await bed.a.restart()
        assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"back") == b"back"

        with established(bed) as (caller, app):
            bed.b.kill()
            reset_by_peer(app)
            reset_by_peer(caller)
        fails(bed.client)  # our own proxy takes it before it asks
        await bed.b.restart()
        assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"back") == b"back"
        assert (await bed.a.ask("control", "stats"))["tunnels_outbound"] == 1

    story(tmp_path, tell)


def test_a_tunnel_that_died_with_its_proxy_costs_no_error(tmp_path: Path) -> None:
    """F05: the peer's proxy was restarted while the pool held an idle tunnel."""

    async def tell(bed: Bed) -> None:
        # While the client's proxy stands still it cannot notice that its tunnel dies.
        os.kill(bed.a.process.pid, signal.SIGSTOP)
        bed.b.kill()
        await bed.b.restart()
        sock = connect(bed.client, SERVER)
        os.kill(bed.a.process.pid, signal.SIGCONT)
        with sock:
            assert await asyncio.to_thread(round_trip, sock, b"second") == b"second"
        assert (await bed.a.ask("control", "stats"))["tunnels_opened"] == 2

    story(tmp_path, tell)


def test_a_stopped_proxy_takes_connections_and_loses_nothing(tmp_path: Path) -> None:
    """F03: SIGSTOP; connecting says nothing about health, and after SIGCONT every byte is there."""

    async def tell(bed: Bed) -> None:
        with established(bed) as (caller, app):
            os.kill(bed.a.process.pid, signal.SIGSTOP)
            try:
                with connect(bed.client, SERVER) as during:
                    payload = os.urandom(50_000)
                    during.sendall(payload)
                    during.settimeout(0.3)
                    with pytest.raises(TimeoutError):
                        during.recv(1)
                    during.settimeout(PATIENCE_S)
                    os.kill(bed.a.process.pid, signal.SIGCONT)
                    during.shutdown(socket.SHUT_WR)
                    assert b"".join(iter(lambda: during.recv(65536), b"")) == payload
            finally:
                os.kill(bed.a.process.pid, signal.SIGCONT)
            caller.sendall(b"y" * 1000)
            assert app.recv(1000, socket.MSG_WAITALL) == b"y" * 1000

    story(tmp_path, tell)


def test_a_partition_is_noticed_by_ping_and_heals_by_itself(tmp_path: Path) -> None:
    """F06: whatever the nodes say to each other is dropped, both ways, without a word."""

    def cut(bed: Bed, flag: str) -> None:
        for chain, port in (("INPUT", "--dport"), ("OUTPUT", "--sport")):
            match = ("-p", "tcp", "-m", "tcp", port, "15008", "-j", "DROP")
            run_in(bed.server, "iptables-legacy", "-w", "-t", "filter", flag, chain, *match)

    async def tell(bed: Bed) -> None:
        with established(bed) as (caller, app):
            cut(bed, "-A")
            with connect(bed.client, SERVER) as during:
                during.settimeout(0.2)
                during.sendall(b"probe")
                with pytest.raises((TimeoutError, ConnectionResetError)):
                    during.recv(1)  # it is a partition
            await asyncio.to_thread(reset_by_peer, caller)
            await asyncio.to_thread(reset_by_peer, app)
            await bed.a.log_has("no answer to PING in 1 s")
            await asyncio.to_thread(fails, bed.client)  # at the dial's own limit
            await bed.a.log_has('flag="NETWORK_POLICY"')
        cut(bed, "-D")
        assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"healed") == b"healed"

    story(tmp_path, tell, **SOON)


@pytest.mark.parametrize("end", ["done", "deadline", "forced"])
def test_drain_lets_live_connections_finish_up_to_its_deadline(tmp_path: Path, end: str) -> None:
    """F04: one signal drains, to the end or to the deadline, and exits 0; a second one forces, 128 + it."""

    async def tell(bed: Bed) -> None:
        with established(bed) as (caller, app):
            bed.b.process.send_signal(signal.SIGTERM)
            await bed.b.log_has("drain started")
            await refused_from_now_on(bed)
            if end != "deadline":
                caller.sendall(b"still")
                assert app.recv(100) == b"still"
            if end == "forced":
                bed.b.process.send_signal(signal.SIGTERM)
            if end == "done":
                for sock in (caller, app):
                    sock.shutdown(socket.SHUT_WR)
                assert await asyncio.to_thread(caller.recv, 1) == b""
            else:
                await asyncio.to_thread(reset_by_peer, caller)
                await asyncio.to_thread(reset_by_peer, app)
            code = await asyncio.to_thread(bed.b.process.wait, PATIENCE_S)
        assert code == (128 + signal.SIGTERM if end == "forced" else 0)

    story(tmp_path, tell, CONNECTION_TERMINATION_DEADLINE="1s" if end == "deadline" else "60s")


def test_a_second_process_takes_over_while_the_first_drains(tmp_path: Path) -> None:
    """F04: the agent hands the same pod to a new proxy; then the old one is told to end, under load."""

    async def tell(bed: Bed) -> None:
        run_in(bed.server, "sysctl", "-qw", "net.ipv4.tcp_migrate_req=1")
        over = asyncio.Event()
        done = 0

        async def often() -> None:
            nonlocal done
            while not over.is_set():
                assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"x" * 1000) == b"x" * 1000
                done += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(often())
            successor = bed.node("b2", on="b")
            await successor.serve("server", bed.server)
            assert await bed.b.end() == 0
            enough = done + 10
            while done < enough:  # noqa: ASYNC110  a plain counter
                await asyncio.sleep(0.01)
            over.set()
        taken = (await successor.ask("control", "stats"))["connects_accepted"]
        assert taken >= 5

    story(tmp_path, tell)


def test_without_an_authority_nothing_is_sent_and_with_it_all_is_well(tmp_path: Path) -> None:
    """F40, T38: not ready, connections held and then refused; ready by itself when the CA comes."""
    ca, env = Ca(), {"PYZTUNNEL_READINESS_WAIT": "500ms"}

    async def run() -> None:
        async with bed_in(tmp_path, env, authority=False) as bed:
            with echo(bed.server, 8080):
                assert "certificates" in await bed.a.readiness()
                await asyncio.to_thread(fails, bed.client)
                await bed.a.log_has("no certificate after 0.5 s")
                async with grpc_ca(tmp_path / "ca.sock", lambda request: ca.answer(request.csr)):
                    for node in (bed.a, bed.b):
                        await ready(node)
                    assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"now") == b"now"

    asyncio.run(run())
