"""What a peer that is not trusted may ask for and claim, and what the proxy makes of it."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from ipaddress import ip_network

import pytest
from h2.errors import ErrorCodes

from proxy.hbone.events import Header
from proxy.hbone.headers import request_headers
from proxy.hbone.limits import CLIENT_LIMITS
from proxy.rbac import Action, Match, Policy
from proxy.telemetry import Outcome, Stats
from proxy.tests.listeners.cluster import ADDRESSES, PORT, Cluster, address, cluster
from proxy.tests.listeners.policies import ALLOW_OTHERS, CLIENT, SERVER, policy
from proxy.tests.listeners.talk import echo, exchange, expect_reset
from proxy.tests.namespaces import connect_socket
from proxy.tests.sockets import receive_all, run, send, until
from proxy.tunnel.client import ClientTunnel
from proxy.tunnel.errors import ConnectRefused
from proxy.tunnel.tunnel import Timing

pytestmark = pytest.mark.netns


def test_hbone_ip_mismatch() -> None:
    """T50; and what else a CONNECT may not ask for."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            for authority, status in (
                (f"{ADDRESSES['outside']}:{PORT}", 400),
                ("127.0.0.1:8080", 400),
                ("0.0.0.0:8080", 400),
                (f"{ADDRESSES['server']}:0", 400),
                (f"{ADDRESSES['server']}:08080", 400),
                (f"user@{ADDRESSES['server']}:8080", 400),
                (f"{ADDRESSES['server']}:15001", 503),
                (f"{ADDRESSES['server']}:15006", 503),
                (f"{ADDRESSES['server']}:15008", 503),
                ("server.ns.svc.cluster.local:8080", 503),
            ):
                assert await asked(c, authority) == status, authority
            assert await asked(c, f"{ADDRESSES['server']}:{PORT}") == 200
            assert any("ip mismatch" in (record.error or "") for record in c.server.telemetry.completed)

    run(test())


def from_addresses(action: Action, network: str) -> Policy:
    return policy(action, Match(source_ips=(ip_network(network),)))


def test_headers_prove_nothing() -> None:
    """T62: whoever a CONNECT says that it is for, policies see the certificate and the TCP peer."""
    claims = [
        (b"forwarded", b'for="192.0.2.7:1";host=server'),
        (b"x-forwarded-for", b"192.0.2.7"),
        (b"x-forwarded-network", b"other"),
        (b"baggage", b"k8s.namespace.name=ns,service.name=other"),
    ]

    async def test() -> None:
        async with cluster(policies=[from_addresses(Action.ALLOW, "192.0.2.7")]) as c:
            await c.listen("server", echo)
            authority = f"{ADDRESSES['server']}:{PORT}"
            assert await asked(c, authority, claims) == 401
            c.apply(ALLOW_OTHERS)
            assert await asked(c, authority, claims) == 401
            c.apply(from_addresses(Action.ALLOW, ADDRESSES["client"]))
            assert await asked(c, authority, claims) == 200
            assert all(record.source_identity == CLIENT for record in c.server.telemetry.completed)

    run(test())


@pytest.mark.parametrize("source", ["client", "outside"])
def test_source_addresses_are_those_of_the_tcp_peer(source: str) -> None:
    """T63: of plaintext that is what the network lets through; the app sees the same address."""

    async def test() -> None:
        async with cluster(policies=[from_addresses(Action.DENY, ADDRESSES[source])]) as c:
            await c.listen("server", echo)
            await expect_reset(await c.dial(source, "server"))
            c.apply(from_addresses(Action.DENY, "192.0.2.7"))
            assert await exchange(c, source, "server") == ADDRESSES[source]

    run(test())


async def asked(c: Cluster, authority: str, more: Sequence[Header] = ()) -> int:
    """What the server's proxy answers to a CONNECT."""
    sock = connect_socket(c.namespaces["client"].fd, socket.AF_INET, mark=0x539)
    await asyncio.get_running_loop().sock_connect(sock, (ADDRESSES["server"], 15008))
    tunnel, stream = await ClientTunnel.open(
        sock,
        await c.client.context.identities.client_context(CLIENT),
        expected=frozenset({str(SERVER)}),
        headers=[*request_headers(authority, source=(address("client"), 1)), *more],
        limits=CLIENT_LIMITS,
        timing=Timing(),
        stats=Stats(),
    )
    try:
        await stream.answered()
    except ConnectRefused as exc:
        return exc.status
    else:
        stream.reset(ErrorCodes.CANCEL)
        return 200
    finally:
        tunnel.close()
        await until(lambda: tunnel.over)


@pytest.mark.parametrize("source", ["client", "outside"])
@pytest.mark.parametrize("target", ["127.0.0.1", "client", "server"])
@pytest.mark.parametrize("port", [15001, 15006, 15008])
def test_malicious_calls_inpod(source: str, target: str, port: int) -> None:
    """T51, T52, B58: none of the proxy's own ports leads anywhere, from whereever it is called."""

    async def test() -> None:
        async with cluster(handshake_timeout_s=0.3, ping_interval_s=0.3) as c:
            try:
                sock = await c.dial(source, target, port)
            except ConnectionRefusedError:
                return
            with sock:
                try:
                    await send(sock, b"GET / HTTP/1.1\r\n\r\n")
                    answer = await receive_all(sock)
                except OSError:
                    answer = b""
            assert b"HTTP" not in answer
            assert len(answer) < 200  # at most a TLS alert
            assert c.server.stats.connects_accepted == 0
            for node in (c.client, c.server):
                assert not any(
                    r.outcome in (Outcome.HBONE, Outcome.PASSTHROUGH) and not r.error
                    for r in node.telemetry.completed
                )

    run(test())
