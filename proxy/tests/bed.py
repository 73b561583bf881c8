"""Two nodes with a proxy process each, `python -m proxy`, between namespaces with istio-cni's rules.

The agents and the certificate authority are the tests' own; everything else is the product.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

from proxy.inpod.api import PodInfo
from proxy.net.namespace import Netns
from proxy.net.sockets import listen, socket_in
from proxy.tests.ca import Ca, grpc_ca
from proxy.tests.inpod.agent import Agent, snapshot_sent
from proxy.tests.namespaces import new_netns, run_in
from proxy.tests.sockets import PATIENCE_S, free_port

CLIENT, SERVER, HOST = "10.9.0.1", "10.9.0.2", "10.9.1.2"
VIP = "10.96.0.1"

RULES = """*mangle
-A PREROUTING -m mark --mark 0x539/0xfff -j CONNMARK --set-xmark 0x111/0xfff
-A OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark
COMMIT
*nat
-A PREROUTING ! -d 127.0.0.1 -p tcp ! --dport 15008 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
-A OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT
-A OUTPUT ! -d 127.0.0.1/32 -o lo -j ACCEPT
-A OUTPUT ! -d 127.0.0.1/32 -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
COMMIT
"""


def workload(name: str, address: str, node: str, **changes: object) -> dict[str, object]:
    return {
        "uid": f"Kubernetes//Pod/bench/{name}",
        "name": name,
        "namespace": "bench",
        "serviceAccount": name,
        "workloadIps": [address],
        "protocol": "HBONE",
        "node": node,
        "trustDomain": "cluster.local",
        **changes,
    }


def document(action: str) -> str:
    principals = [{"Exact": "cluster.local/ns/bench/sa/client"}]
    return json.dumps(
        {
            "workloads": [
                workload("client", CLIENT, "a"),
                workload("server", SERVER, "b", services={"bench/web.bench": {"80": 8080}}),
            ],
            "services": [
                {
                    "name": "web",
                    "namespace": "bench",
                    "hostname": "web.bench",
                    "vips": [f"/{VIP}"],
                    "ports": {"80": 8080},
                }
            ],
            "policies": [
                {
                    "name": "only-client",
                    "namespace": "bench",
                    "scope": "Namespace",
                    "action": action,
                    "rules": [[[{"principals": principals}]]],
                    "dryRun": False,
                }
            ],
        }
    )


def wire(one: Netns, address: str, other: Netns, peer: str) -> None:
    """A veth between two namespaces, an address of one /24 at each end."""
    name = f"to{peer.rpartition('.')[0].replace('.', '')}"
    run_in(
        one,
        "ip",
        "link",
        "add",
        name,
        "type",
        "veth",
        "peer",
        "name",
        name,
        "netns",
        f"/proc/{os.getpid()}/fd/{other.fd}",
    )
    for netns, own in ((one, address), (other, peer)):
        run_in(netns, "ip", "address", "add", f"{own}/24", "dev", name)
        run_in(netns, "ip", "link", "set", name, "up")


def capture(netns: Netns) -> None:
    """What istio-cni does to a pod."""
    for kind in ("all", "default"):
        run_in(netns, "sysctl", "-qw", f"net.ipv4.conf.{kind}.rp_filter=0")
    run_in(netns, "ip", "rule", "add", "fwmark", "0x111/0xfff", "pref", "32764", "lookup", "100")
    run_in(netns, "ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100")
    run_in(netns, "sh", "-c", f"iptables-legacy-restore <<'END'\n{RULES}END")


@contextmanager
def echo(netns: Netns, port: int, address: str = "0.0.0.0") -> Iterator[list[str]]:
    """An app that sends back what it gets, to the end; yields its peers' addresses."""
    peers: list[str] = []
    listener = listen(netns.fd, address, port, mark=None, transparent=False)
    listener.setblocking(True)

    def serve() -> None:
        while True:
            try:
                connection, peer = listener.accept()
            except OSError:
                return
            peers.append(peer[0])
            with connection, suppress(ConnectionResetError):
                while data := connection.recv(65536):
                    connection.sendall(data)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield peers
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


def call(netns: Netns, address: str, port: int, payload: bytes) -> bytes:
    """Send, half-close, and read to the end."""
    with socket_in(netns.fd, socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
        sock.settimeout(PATIENCE_S)
        sock.connect((address, port))
        sock.sendall(payload)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


class Node:
    """A proxy process with its agent."""

    def __init__(
        self, folder: Path, name: str, *, netns: Netns | None = None, env: dict[str, str] | None = None
    ) -> None:
        """In the test's own namespace and with no page but readiness, or in one of its own and with all.

        Args:
            env: Settings beside the usual.
        """
        self.folder = folder / name
        self.folder.mkdir()
        self.name = name
        self.agent = Agent(self.folder / "zds.sock")
        self._pods: dict[str, Netns] = {}
        self._readiness = free_port()
        within = [] if netns is None else ["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns.fd}"]
        self._command = [*within, sys.executable, "-m", "proxy"]
        pages = {
            "PYZTUNNEL_ADMIN_PORT": "off",
            "PYZTUNNEL_STATS_PORT": "off",
            "PYZTUNNEL_READINESS_PORT": str(self._readiness),
        }
        self._env = {
            **os.environ,
            "NODE_NAME": name,
            "LOCAL_XDS_PATH": str(folder / "mesh.json"),
            "INPOD_UDS": str(self.folder / "zds.sock"),
            "CA_ADDRESS": f"unix://{folder}/ca.sock",
            "IPV6_ENABLED": "false",
            **(pages if netns is None else {}),
            "PYZTUNNEL_CONTROL_SOCKET": str(self.folder / "control.sock"),
            "PYZTUNNEL_BENCH_SOCKET": str(self.folder / "bench.sock"),
            **(env or {}),
        }
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(self._command, env=self._env, stderr=log)

    async def serve(self, pod: str, netns: Netns) -> None:
        """Hand the pod to the proxy, as soon as that one comes and asks."""
        self._pods[pod] = netns
        await self.tell()

    async def restart(self) -> None:
        """Another process; the agent tells it what it told the last one."""
        self.agent.hang_up()
        self.process = self._start()
        await self.tell()

    async def tell(self) -> None:
        """The agent takes the proxy that comes, and names its pods."""
        await self.agent.accept()
        for pod, netns in self._pods.items():
            uid = f"Kubernetes//Pod/bench/{pod}"
            info = PodInfo(uid=uid, name=pod, namespace="bench", service_account=pod)
            assert await self.agent.add(info, netns) == ""
        assert await self.agent.ask(snapshot_sent()) == ""

    async def ask(self, which: str, op: str) -> dict[str, Any]:
        """One request to the control or the bench socket."""
        reader, writer = await asyncio.open_unix_connection(self.folder / f"{which}.sock")
        writer.write(json.dumps({"op": op}).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        await writer.wait_closed()
        return dict(answer["ok"])

    async def readiness(self) -> str:
        """What the readiness port answers."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._readiness)
        writer.write(b"GET /healthz/ready HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return answer.partition(b"\r\n\r\n")[2].decode()

    async def log_has(self, text: str) -> None:
        """Wait until the log says it."""
        async with asyncio.timeout(PATIENCE_S):
            while text not in (self.folder / "log").read_text():  # noqa: ASYNC110  another process writes it
                await asyncio.sleep(0.01)

    async def end(self) -> int:
        """Drain it."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.to_thread(self.process.wait, PATIENCE_S)

    def kill(self) -> None:
        """End it without a chance to say anything."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """With its agent."""
        self.kill()
        self.agent.__exit__()


class Bed:
    """Two nodes with a pod each, and a host outside the mesh beside the client."""

    def __init__(self, folder: Path, stack: ExitStack, env: dict[str, str]) -> None:
        self.folder = folder
        self._stack, self._env = stack, env
        self.client, self.server, self.host = (stack.enter_context(new_netns()) for _ in range(3))
        wire(self.client, CLIENT, self.server, SERVER)
        wire(self.client, "10.9.1.1", self.host, HOST)
        run_in(self.client, "ip", "route", "add", "10.96.0.0/16", "via", SERVER)
        capture(self.client)
        capture(self.server)
        self.mesh("Allow")
        self.a, self.b = self.node("a"), self.node("b")

    def node(self, name: str, *, on: str | None = None) -> Node:
        """Another proxy process, on a node of its own or on one that has a proxy already."""
        made = Node(self.folder, name, env={"NODE_NAME": on or name, **self._env})
        self._stack.callback(made.close)
        return made

    def mesh(self, action: str) -> None:
        """Put a document in place whose one policy allows, or denies, the client."""
        new = self.folder / "mesh.new"
        new.write_text(document(action))
        new.replace(self.folder / "mesh.json")


@asynccontextmanager
async def bed_in(
    folder: Path, env: dict[str, str] | None = None, *, authority: bool = True
) -> AsyncIterator[Bed]:
    """Both proxies with their pods, and a certificate authority if asked for.

    Args:
        env: Settings beside the usual.
    """
    ca = Ca()
    async with AsyncExitStack() as stack:
        if authority:
            await stack.enter_async_context(
                grpc_ca(folder / "ca.sock", lambda request: ca.answer(request.csr))
            )
        made = Bed(folder, stack.enter_context(ExitStack()), env or {})
        await made.a.serve("client", made.client)
        await made.b.serve("server", made.server)
        yield made
