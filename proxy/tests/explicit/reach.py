"""A mesh on loopback addresses, without root: an app behind an HBONE listener, and a client's proxy."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from ipaddress import ip_address
from random import Random
from typing import Any

from proxy.config import Mode, Reuse, SameNode, Settings
from proxy.context import Context, Switches
from proxy.explicit.listener import Socks
from proxy.identity.authority import Authority
from proxy.identity.identities import Identities
from proxy.identity.spiffe import SpiffeId
from proxy.inpod.api import PodInfo
from proxy.listeners.connection import served_pod
from proxy.listeners.inbound import Inbound
from proxy.listeners.pod import Serving
from proxy.net import Here, listen
from proxy.routing import HBONE_PORT
from proxy.state.document import parse
from proxy.state.store import MeshStore
from proxy.tasks import Supervisor
from proxy.tests.ca import Ca
from proxy.tests.listeners.cluster import RecordingTelemetry
from proxy.tests.sockets import PATIENCE_S, receive_exactly, send

VIP = "10.96.0.80"
GREETING = b"\5\1\0"
NAME = "web.ns.svc.cluster.local"


def server_address() -> str:
    """An address of this host that no other test takes at this time."""
    process = os.getpid()
    return f"127.{64 + (process >> 16) % 64}.{process >> 8 & 255}.{process & 255 or 1}"


def document(server: str, port: int, *, policies: list[dict[str, object]] | None = None) -> bytes:
    """A client, a server with a service before it, and a service without an address."""

    def workload(name: str, address: str, **changes: object) -> dict[str, object]:
        return {
            "uid": f"Kubernetes//Pod/ns/{name}",
            "name": name,
            "namespace": "ns",
            "serviceAccount": name,
            "workloadIps": [address],
            "protocol": "HBONE",
            "node": name,
            "trustDomain": "cluster.local",
            **changes,
        }

    def service(hostname: str, vips: list[str], ports: dict[str, int]) -> dict[str, object]:
        name = hostname.partition(".")[0]
        return {"name": name, "namespace": "ns", "hostname": hostname, "vips": vips, "ports": ports}

    return json.dumps(
        {
            "workloads": [
                workload("client", "10.9.9.9"),
                workload("server", server, services={f"ns/{NAME}": {"80": port}}),
            ],
            "services": [
                service(NAME, [f"/{VIP}"], {"80": port}),
                service("bare.ns.svc.cluster.local", [], {}),
            ],
            "policies": policies or [],
        }
    ).encode()


class CaHere:
    """Signs in this process."""

    def __init__(self) -> None:
        self.ca = Ca()

    async def sign(self, _identity: SpiffeId, csr_pem: str, _ttl_s: float) -> list[str]:
        return self.ca.answer(csr_pem)


@dataclass
class Node:
    """One proxy's parts."""

    context: Context
    telemetry: RecordingTelemetry


def node(tasks: asyncio.TaskGroup, authority: Authority, mesh: bytes, **settings: Any) -> Node:
    """A proxy that knows the mesh."""
    telemetry = RecordingTelemetry()
    context = Context(
        settings=Settings(**{"original_source": False, "ipv6": False, **settings}),
        store=MeshStore(),
        identities=Identities(
            authority,
            background=Supervisor(tasks, telemetry.stats),
            stats=telemetry.stats,
            ttl_s=3600,
            wait_s=5,
        ),
        telemetry=telemetry,
        switches=Switches(Reuse.ON, SameNode.HBONE),
        random=Random(0),
        tasks=tasks,
    )
    if mesh:
        context.store.replace(parse(mesh, version=1))
    return Node(context, telemetry)


@asynccontextmanager
async def inbound(
    tasks: asyncio.TaskGroup, authority: Authority, mesh: bytes, address: str
) -> AsyncIterator[Node]:
    """The server's side: its proxy's HBONE listener, in the process's own network."""
    server = node(tasks, authority, mesh)
    identity = SpiffeId("cluster.local", "ns", "server")
    server.context.identities.enrol(identity)
    info = PodInfo(uid="server", name="server", namespace="ns", service_account="server")
    pod = served_pod(server.context, info, Here(), siblings={})
    sock = listen(None, address, HBONE_PORT, mark=None, transparent=False)
    serving = Serving(pod, [("inbound", sock, Inbound(pod).serve)])
    try:
        yield server
    finally:
        await serving.close()
        server.context.identities.withdraw(identity)


def app_socket(address: str) -> socket.socket:
    """The app's listener, on a free port."""
    sock = socket.create_server((address, 0))
    sock.setblocking(False)
    return sock


CLIENT_SETTINGS: dict[str, Any] = {
    "mode": Mode.EXPLICIT,
    "workload": ("ns", "client", "client"),
    "socks_listen": ("127.0.0.1", 0),
}


def packed(address: str) -> bytes:
    """A SOCKS5 request's address."""
    found = ip_address(address)
    return bytes((1 if found.version == 4 else 4,)) + found.packed


def name(text: str) -> bytes:
    """A SOCKS5 request's name."""
    return bytes((3, len(text))) + text.encode()


@dataclass(kw_only=True)
class Caller:
    """A client of a SOCKS5 listener."""

    socks_port: int

    async def dial(self) -> socket.socket:
        """A connection to the proxy."""
        sock = socket.socket()
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", self.socks_port))
        return sock

    async def ask(self, target: bytes, port: int) -> tuple[socket.socket, bytes]:
        """A negotiation to its reply."""
        sock = await self.dial()
        await send(sock, GREETING)
        assert await receive_exactly(sock, 2) == b"\5\0"
        await send(sock, b"\5\1\0" + target + port.to_bytes(2))
        return sock, await receive_exactly(sock, 10)


@dataclass(kw_only=True)
class Reach(Caller):
    """A client's proxy, the server's, and the app behind it."""

    client: Node
    server: Node
    address: str
    app_port: int


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends back what comes."""
    with suppress(ConnectionResetError):
        while part := await reader.read(1 << 16):
            writer.write(part)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def app_here(address: str) -> AsyncIterator[int]:
    """The app in this process; its port."""
    sock = app_socket(address)
    serving = await asyncio.start_server(echo, sock=sock)
    try:
        yield int(sock.getsockname()[1])
    finally:
        serving.close()


@asynccontextmanager
async def reach(
    *,
    policies: Any = None,
    with_state: bool = True,
    timeout_s: float = PATIENCE_S,
    app: Callable[[str], AbstractAsyncContextManager[int]] = app_here,
    **settings: Any,
) -> AsyncIterator[Reach]:
    """Bring everything up, and down after the block. `app` listens at an address and tells its port."""
    address, authority = server_address(), CaHere()
    async with asyncio.timeout(timeout_s), app(address) as port, asyncio.TaskGroup() as tasks:
        mesh = document(address, port, policies=policies)
        async with inbound(tasks, authority, mesh, address) as server:
            client = node(tasks, authority, mesh if with_state else b"", **{**CLIENT_SETTINGS, **settings})
            identity = SpiffeId("cluster.local", "ns", "client")
            client.context.identities.enrol(identity)
            info = PodInfo(uid="explicit", name="client", namespace="ns", service_account="client")
            pod = served_pod(client.context, info, Here(), siblings={})
            sock = listen(None, "127.0.0.1", 0, mark=None, transparent=False, reuse_port=False)
            socks_port = int(sock.getsockname()[1])
            serving = Serving(pod, [("socks", sock, Socks(pod).serve)])
            try:
                yield Reach(
                    client=client, server=server, address=address, app_port=port, socks_port=socks_port
                )
            finally:
                await serving.close()
                client.context.identities.withdraw(identity)
