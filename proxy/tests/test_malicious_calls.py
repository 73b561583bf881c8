"""ztunnel's malicious_calls_inpod: 35 calls of a proxy's own ports, from a captured and an uncaptured pod.

The proxy runs as a process in its node's namespace, with admin, metrics and readiness. Its table is
taken over as it is, but for one row: ours does not listen for HBONE in its own namespace.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path

import pytest

from proxy.net.namespace import Netns
from proxy.net.sockets import socket_in
from proxy.tests.bed import Node, capture, document, wire
from proxy.tests.ca import Ca, grpc_ca
from proxy.tests.namespaces import new_netns, run_in

pytestmark = pytest.mark.netns

CLIENT, NODE = "10.9.0.1", "10.9.0.254"
UNCAPTURED, NODE_TOO = "10.9.5.1", "10.9.5.254"
LOCALHOST = "127.0.0.1"


class Failure(StrEnum):
    """How far a call gets."""

    CONNECTION = "no connection"
    REQUEST = "no answer"
    HTTP = "HTTP 400"


C, R, H = Failure.CONNECTION, Failure.REQUEST, Failure.HTTP
FROM_CAPTURED = {
    (NODE, 15001): R,
    (NODE, 15006): R,
    (NODE, 15008): R,
    (NODE, 15080): R,
    (NODE, 15000): R,
    (NODE, 15020): H,
    (NODE, 15021): H,
    (CLIENT, 15001): R,
    (CLIENT, 15006): R,
    (CLIENT, 15008): R,
    (CLIENT, 15080): C,
    (CLIENT, 15000): C,
    (CLIENT, 15020): C,
    (CLIENT, 15021): C,
    (LOCALHOST, 15001): R,
    (LOCALHOST, 15006): R,
    (LOCALHOST, 15008): R,
    (LOCALHOST, 15080): C,
    (LOCALHOST, 15000): C,
    (LOCALHOST, 15020): C,
    (LOCALHOST, 15021): C,
}
FROM_UNCAPTURED = {
    (NODE, 15001): C,
    (NODE, 15006): C,
    (NODE, 15008): C,  # ztunnel: no answer, as it listens there
    (NODE, 15080): C,
    (NODE, 15000): C,
    (NODE, 15020): H,
    (NODE, 15021): H,
    # Captured in the client's pod as plaintext for an app, and refused there.
    (CLIENT, 15001): R,
    (CLIENT, 15006): R,
    (CLIENT, 15008): R,
    (CLIENT, 15080): R,
    (CLIENT, 15000): R,
    (CLIENT, 15020): R,
    (CLIENT, 15021): R,
}


def called(netns: Netns, address: str, port: int) -> Failure | str:
    """What becomes of a call; an answer that none may get is told as it is."""
    with socket_in(netns.fd, socket.AF_INET) as sock:
        sock.settimeout(20)
        try:
            sock.connect((address, port))
        except ConnectionRefusedError:
            return Failure.CONNECTION
        except ConnectionResetError:
            return Failure.REQUEST  # accepted, and reset before we knew
        try:
            sock.sendall(b"hello world\r\n\r\n")
            answer = sock.recv(12, socket.MSG_WAITALL)
        except (ConnectionResetError, BrokenPipeError):
            return Failure.REQUEST
    if answer == b"HTTP/1.1 400":
        return Failure.HTTP
    return Failure.REQUEST if len(answer) < 12 else repr(answer)


def answered(netns: Netns, request: bytes) -> bytes:
    """What admin says to somebody in the node's namespace."""
    with socket_in(netns.fd, socket.AF_INET) as sock:
        sock.settimeout(20)
        sock.connect((LOCALHOST, 15000))
        sock.sendall(request)
        return sock.recv(12, socket.MSG_WAITALL)


def test_malicious_calls_inpod(tmp_path: Path) -> None:
    """T51, T52, T53, B58."""
    ca = Ca()
    (tmp_path / "mesh.json").write_text(document("Allow"))

    async def run(stack: ExitStack) -> None:
        node, client, uncaptured = (stack.enter_context(new_netns()) for _ in range(3))
        wire(client, CLIENT, node, NODE)
        wire(uncaptured, UNCAPTURED, node, NODE_TOO)
        run_in(node, "sysctl", "-qw", "net.ipv4.ip_forward=1")
        run_in(client, "ip", "route", "add", "default", "via", NODE)
        run_in(uncaptured, "ip", "route", "add", "default", "via", NODE_TOO)
        capture(client)
        async with grpc_ca(tmp_path / "ca.sock", lambda request: ca.answer(request.csr)):
            proxy = Node(tmp_path, "a", netns=node)
            stack.callback(proxy.close)
            await proxy.serve("client", client)
            await proxy.log_has("ready seconds=")
            assert await asyncio.to_thread(answered, node, b"GET / HTTP/1.1\r\n\r\n") == b"HTTP/1.1 200"

            for source, table in ((client, FROM_CAPTURED), (uncaptured, FROM_UNCAPTURED)):
                found = {call: await asyncio.to_thread(called, source, *call) for call in table}
                assert found == table
            stats = await proxy.ask("control", "stats")
            assert stats["connects_accepted"] == 0
            assert stats["completed_outbound_hbone"] == 0

            quit_by_get = b"GET /quitquitquit HTTP/1.1\r\n\r\n"
            assert await asyncio.to_thread(answered, node, quit_by_get) != b"HTTP/1.1 200"
            assert proxy.process.poll() is None
            assert await proxy.end() == 0
            log = (proxy.folder / "log").read_text()
            assert "self call" in log
            assert "Traceback" not in log

    with ExitStack() as stack:
        asyncio.run(run(stack))
