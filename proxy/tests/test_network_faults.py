"""Faults below the proxies: the connection tracking table, a link, its MTU, the ports that are left."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import struct
from pathlib import Path

import pytest

from proxy.net.namespace import Netns, inside
from proxy.tests.bed import HOST, SERVER, Bed, call, echo
from proxy.tests.calls import PATIENCE_S, SOON, connect, established, fails, reset_by_peer, round_trip, story
from proxy.tests.namespaces import connect_socket, run_in

pytestmark = pytest.mark.netns

CONNTRACK_FLUSH = struct.pack("=IHHII", 20, 0x0102, 5, 1, 0) + bytes(4)
"""nlmsghdr (IPCTNL_MSG_CT_DELETE, NLM_F_REQUEST | NLM_F_ACK) and an nfgenmsg of any family:
linux/netfilter/nfnetlink_conntrack.h"""
LINK = "to1090"
"""Between the client and the server, at both ends."""


def forget(netns: Netns) -> None:
    """Empty the namespace's connection tracking table."""
    with inside(netns.fd), socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 12) as netfilter:
        netfilter.settimeout(PATIENCE_S)
        netfilter.send(CONNTRACK_FLUSH)
        assert struct.unpack_from("=i", netfilter.recv(4096), 16) == (0,)


def test_a_flow_on_which_the_client_speaks_survives_a_flush(tmp_path: Path) -> None:
    """T74, F21: the kernel takes it up in the middle, and redirects it to where it was."""

    async def tell(bed: Bed) -> None:
        with established(bed) as (caller, app):
            # The client has the last word's acknowledgement to send. Were it the server's, up to 40 ms
            # late, the kernel would take the flow up by it, and by the wrong end.
            app.sendall(b"welcome")
            assert caller.recv(100) == b"welcome"
            forget(bed.client)
            forget(bed.server)
            for _ in range(2):
                caller.sendall(b"question")
                assert app.recv(100) == b"question"
                app.sendall(b"answer")
                assert caller.recv(100) == b"answer"

    story(tmp_path, tell)


def test_a_flow_on_which_the_server_speaks_is_reset_after_a_flush(tmp_path: Path) -> None:
    """T74, F21: what the proxy sends has lost its way to the app's own connection; both ends learn it."""

    async def tell(bed: Bed) -> None:
        with established(bed) as (caller, app):
            forget(bed.client)
            app.sendall(b"unasked")
            await asyncio.to_thread(reset_by_peer, app)
            caller.sendall(b"still there?")
            await asyncio.to_thread(reset_by_peer, caller)
        assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"next") == b"next"

    story(tmp_path, tell)


def test_a_link_that_goes_down_is_noticed_and_one_that_comes_back_is_used(tmp_path: Path) -> None:
    """F24: with its routes and its neighbours."""

    async def tell(bed: Bed) -> None:
        with established(bed) as (caller, app):
            run_in(bed.server, "ip", "link", "set", LINK, "down")
            await asyncio.to_thread(reset_by_peer, caller)
            await asyncio.to_thread(reset_by_peer, app)
        run_in(bed.server, "ip", "link", "set", LINK, "up")
        run_in(bed.server, "ip", "neighbour", "flush", "dev", LINK)
        assert await asyncio.to_thread(call, bed.client, SERVER, 8080, b"back") == b"back"

    # Longer than a second, after which the kernel asks again for a neighbour, and sends a lost SYN again.
    story(tmp_path, tell, **{**SOON, "PYZTUNNEL_CONNECT_TIMEOUT": "10s"})


def test_a_smaller_mtu_at_one_end_costs_no_byte(tmp_path: Path) -> None:
    """F30: tunnels that are made from then on use the smaller segment."""
    payload = os.urandom(1_000_000)

    async def tell(bed: Bed) -> None:
        run_in(bed.server, "ip", "link", "set", LINK, "mtu", "1280")
        await bed.a.ask("bench", "drop-tunnels")
        assert await asyncio.to_thread(call, bed.client, SERVER, 8080, payload) == payload

    story(tmp_path, tell)


def test_without_a_free_port_the_app_is_reset_and_told_why_in_the_log(tmp_path: Path) -> None:
    """F16: the proxy's leg has the pod's ports; the apps' own are outside of its range here."""

    async def tell(bed: Bed) -> None:
        with echo(bed.host, 8080):
            run_in(bed.client, "sysctl", "-qw", "net.ipv4.ip_local_port_range=40000 40000")
            with connect(bed.client, HOST, source_port=50001) as holder:
                assert round_trip(holder) == b"x"
                await asyncio.to_thread(fails, bed.client, HOST, source_port=50002)
                await bed.a.log_has(os.strerror(errno.EADDRNOTAVAIL))
                assert round_trip(holder) == b"x"
            run_in(bed.client, "sysctl", "-qw", "net.ipv4.ip_local_port_range=32768 60999")
            with connect(bed.client, HOST) as after:
                assert round_trip(after) == b"x"

    story(tmp_path, tell)


def test_plaintext_into_a_pod_is_carried_as_it_is_whatever_it_looks_like(tmp_path: Path) -> None:
    """B74: a ClientHello, another proxy's preface, anything: nobody looks inside."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
    hello = bytes.fromhex("16030100c8010000c40303") + os.urandom(194)

    def past_the_clients_proxy(bed: Bed, sent: bytes) -> bytes:
        with connect_socket(bed.client.fd, socket.AF_INET, mark=0x539) as sock:
            sock.settimeout(PATIENCE_S)
            sock.connect((SERVER, 8080))
            sock.sendall(sent)
            sock.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: sock.recv(65536), b""))

    async def tell(bed: Bed) -> None:
        bed.mesh("Deny")  # of the client's identity, which plaintext has not
        await bed.b.log_has("mesh state in force version=2")
        before = (await bed.b.ask("control", "stats"))["policy_evaluations"]
        for sent in (hello, preface, b"GET / HTTP/1.1\r\n\r\n", bytes(1000), os.urandom(100_000)):
            assert await asyncio.to_thread(past_the_clients_proxy, bed, sent) == sent
        assert (await bed.b.ask("control", "stats"))["policy_evaluations"] == before + 5

    story(tmp_path, tell)
