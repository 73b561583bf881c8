"""Nodes with real listeners in real namespaces, all in one process: apps, rules, proxies, certificates.

Namespaces on one bridge: `client` and `server` are pods, `outside` is not of the mesh; a test may ask for
more pods. The rules are istio-cni's redirection (REDIRECT, CONNMARK). Each node has a proxy of its own, as
in life.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv4Address, ip_address
from random import Random
from typing import Any

from proxy.config import Reuse, SameNode, Settings
from proxy.context import Context, Switches
from proxy.identity.authority import Authority
from proxy.identity.identities import Identities
from proxy.identity.spiffe import SpiffeId
from proxy.inpod.api import PodInfo
from proxy.listeners.pod import Listeners, PodHandle
from proxy.net.namespace import Netns, inside
from proxy.rbac import Policy
from proxy.state.mesh import MeshState
from proxy.state.model import Service, Workload
from proxy.state.store import MeshStore
from proxy.tasks import Supervisor
from proxy.telemetry import ConnectionRecord, Stats, Telemetry
from proxy.tests.ca import Ca
from proxy.tests.mesh import workload
from proxy.tests.namespaces import new_netns, run_in
from proxy.tests.sockets import PATIENCE_S

ADDRESSES = {
    "client": "10.99.0.1",
    "server": "10.99.0.2",
    "outside": "10.99.0.3",
    "near": "10.99.0.4",
    "far": "10.99.0.5",
}
ONE_NODE = {"client": "node-one", "server": "node-one"}
TWO_NODES = {"client": "node-client", "server": "node-server"}
"""Pods by node."""
PORT = 8080

RULES = """\
*mangle
-A PREROUTING -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
-A OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff
COMMIT
*nat
-A PREROUTING -p tcp --dport 15008 -j ACCEPT
-A PREROUTING ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
-A OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
-A OUTPUT ! -d 127.0.0.1/32 -o lo -j ACCEPT
-A OUTPUT ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
COMMIT
"""


@contextmanager
def wired(pods: Iterable[str]) -> Iterator[dict[str, Netns]]:
    """The namespaces of these pods and of the outside, with links, addresses, rules and routes."""
    with ExitStack() as stack:
        bridge = stack.enter_context(new_netns())
        run_in(bridge, "ip", "link", "add", "br0", "type", "bridge")
        run_in(bridge, "ip", "link", "set", "br0", "up")
        made = {name: stack.enter_context(new_netns()) for name in (*pods, "outside")}
        for name, netns in made.items():
            _join(bridge, netns, name)
            if name != "outside":
                run_in(netns, "sh", "-c", f"iptables-legacy-restore <<'E'\n{RULES}E\n")
                run_in(netns, "ip", "rule", "add", "fwmark", "0x111/0xfff", "lookup", "100")
                run_in(netns, "ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100")
        yield made


def _join(bridge: Netns, netns: Netns, name: str) -> None:
    run_in(bridge, "ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-pod")
    run_in(bridge, "ip", "link", "set", name, "master", "br0", "up")
    run_in(bridge, "ip", "link", "set", f"{name}-pod", "netns", f"/proc/{os.getpid()}/fd/{netns.fd}")
    run_in(netns, "ip", "link", "set", f"{name}-pod", "name", "eth0", "up")
    run_in(netns, "ip", "address", "add", f"{ADDRESSES[name]}/24", "dev", "eth0")


class LocalAuthority:
    """Signs in this process."""

    def __init__(self) -> None:
        self._ca = Ca()

    async def sign(self, _identity: SpiffeId, csr_pem: str, _ttl_s: float) -> Sequence[str]:
        return self._ca.answer(csr_pem)


AUTHORITY = LocalAuthority()


class RecordingTelemetry(Telemetry):
    """Keeps what was completed."""

    def __init__(self) -> None:
        super().__init__(Stats())
        self.completed: list[ConnectionRecord] = []

    def complete(self, record: ConnectionRecord) -> None:
        super().complete(record)
        self.completed.append(record)


@dataclass
class Node:
    """One proxy."""

    context: Context
    telemetry: RecordingTelemetry
    listeners: Listeners
    pods: dict[str, PodHandle] = field(default_factory=dict)

    @property
    def stats(self) -> Stats:
        return self.telemetry.stats


Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Cluster:
    """Everything that runs."""

    namespaces: dict[str, Netns]
    nodes: dict[str, Node]
    """By pod."""
    workloads: tuple[Workload, ...]
    services: tuple[Service, ...] = ()
    servers: list[asyncio.Server] = field(default_factory=list)
    guests: list[tuple[Node, SpiffeId]] = field(default_factory=list)
    """Identities of pods that came later."""
    version: int = 1

    @property
    def client(self) -> Node:
        return self.nodes["client"]

    @property
    def server(self) -> Node:
        return self.nodes["server"]

    def apply(self, *policies: Policy) -> None:
        """A new snapshot with these policies."""
        self.version += 1
        for node in {id(node): node for node in self.nodes.values()}.values():
            node.context.store.replace(
                MeshState(
                    version=self.version,
                    workloads=self.workloads,
                    services=self.services,
                    policies=policies,
                )
            )

    async def listen(self, name: str, handle: Handle, port: int = PORT) -> None:
        """An app that answers in a namespace."""
        with inside(self.namespaces[name].fd):
            sock = socket.create_server((ADDRESSES[name], port))
        self.servers.append(await asyncio.start_server(handle, sock=sock))

    async def listening_socket(self, name: str, port: int = PORT) -> socket.socket:
        """A bare listener in a namespace."""
        with inside(self.namespaces[name].fd):
            sock = socket.create_server((ADDRESSES[name], port))
        sock.setblocking(False)
        return sock

    async def dial(self, source: str, destination: str, port: int = PORT) -> socket.socket:
        """An app's connection from one namespace to another's address, or to any address."""
        with inside(self.namespaces[source].fd):
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            async with asyncio.timeout(PATIENCE_S):
                target = (ADDRESSES.get(destination, destination), port)
                await asyncio.get_running_loop().sock_connect(sock, target)
        except BaseException:
            sock.close()
            raise
        return sock

    async def records(self, node: Node, count: int) -> list[ConnectionRecord]:
        """The completed connections of a node, as soon as there are `count`."""
        async with asyncio.timeout(PATIENCE_S):
            while len(node.telemetry.completed) < count:  # noqa: ASYNC110  plain list, tells nobody
                await asyncio.sleep(0)
        return node.telemetry.completed


@asynccontextmanager
async def cluster(
    *,
    nodes: int = 2,
    pods: Mapping[str, str] | None = None,
    policies: Iterable[Policy] = (),
    reuse: Reuse = Reuse.ON,
    same_node: SameNode = SameNode.HBONE,
    with_state: bool = True,
    authority: Authority = AUTHORITY,
    now: Callable[[], float] = time.time,
    **settings: Any,
) -> AsyncIterator[Cluster]:
    """Bring everything up, and all of it down after the block. `pods` by node, where two are not enough."""
    placed = pods or (ONE_NODE if nodes == 1 else TWO_NODES)
    with wired(placed) as namespaces:
        async with asyncio.TaskGroup() as tasks:
            workloads = tuple(workload(name, ADDRESSES[name], node=node) for name, node in placed.items())
            identities = partial(Identities, authority, ttl_s=3600, now=now)
            switches = {node: Switches(reuse, same_node) for node in placed.values()}
            proxies = {node: _node(tasks, identities, switches[node], settings) for node in switches}
            running = Cluster(namespaces, {name: proxies[node] for name, node in placed.items()}, workloads)
            if with_state:
                running.apply(*policies)
            for name, node in running.nodes.items():
                identity = SpiffeId("cluster.local", "ns", name)
                node.context.identities.enrol(identity)
                pod = PodInfo(uid=name, name=name, namespace="ns", service_account=name)
                node.pods[name] = node.listeners.start(pod, namespaces[name])
                await node.context.identities.client_context(identity)
            try:
                yield running
            finally:
                for server in running.servers:
                    server.close()
                for name, node in running.nodes.items():
                    await node.pods[name].close()
                    node.context.identities.withdraw(SpiffeId("cluster.local", "ns", name))
                for node, identity in running.guests:
                    node.context.identities.withdraw(identity)


def _node(
    tasks: asyncio.TaskGroup,
    identities: Callable[..., Identities],
    switches: Switches,
    settings: dict[str, Any],
) -> Node:
    telemetry = RecordingTelemetry()
    given: dict[str, Any] = {"ipv6": False, "readiness_wait_s": 5.0, **settings}
    context = Context(
        settings=Settings(**given),
        store=MeshStore(),
        identities=identities(
            background=Supervisor(tasks, telemetry.stats),
            stats=telemetry.stats,
            wait_s=given["readiness_wait_s"],
        ),
        telemetry=telemetry,
        switches=switches,
        random=Random(0),
        tasks=tasks,
    )
    return Node(context, telemetry, Listeners(context))


def address(name: str) -> IPv4Address:
    """A namespace's address."""
    found = ip_address(ADDRESSES[name])
    assert isinstance(found, IPv4Address)
    return found
