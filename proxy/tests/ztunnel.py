"""A real ztunnel in a namespace of its own, with a pod, an agent and a certificate authority.

The binary is `ZTUNNEL`, or `../shared/bin/ztunnel.xz` beside the checkout; any release will do.
"""

from __future__ import annotations

import asyncio
import json
import lzma
import os
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.inpod.api import PodInfo
from proxy.net.namespace import Netns, inside
from proxy.tests.ca import Ca, grpc_ca, pem
from proxy.tests.inpod.agent import Agent, snapshot_sent
from proxy.tests.namespaces import new_netns, run_in
from proxy.tests.sockets import PATIENCE_S

PACKED = Path(__file__).parents[3] / "shared" / "bin" / "ztunnel.xz"
ADMIN_PORT, STATS_PORT, READINESS_PORT = 15000, 15020, 15021


CLIENT, ELSEWHERE = "10.9.0.1", "10.9.7.7"
"""A pod, and somebody out of the mesh."""
RULES = f"""*nat
-A OUTPUT -p tcp -d {ELSEWHERE} -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001
-A OUTPUT -p tcp -d {CLIENT} --dport 8080 -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15006
COMMIT
"""


def binary(folder: Path) -> Path:
    """The program, unpacked into `folder` if it is packed; skips the test without one, or fails it in CI."""
    found = Path(os.environ.get("ZTUNNEL", PACKED))
    if not found.exists():
        missing = f"needs a real ztunnel: {found} does not exist; set ZTUNNEL=PATH"
        if os.environ.get("CI") == "true" and PACKED.parent.exists():
            pytest.fail(f"has to be there where CI=true: {missing}", pytrace=False)
        pytest.skip(missing)
    if found.suffix != ".xz":
        return found
    unpacked = folder / "ztunnel"
    with lzma.open(found) as packed, unpacked.open("wb") as out:
        shutil.copyfileobj(packed, out)
    unpacked.chmod(0o755)
    return unpacked


class Ztunnel:
    """A running one."""

    def __init__(self, netns: Netns, pods: Mapping[str, Netns]) -> None:
        self.netns = netns
        self.pods = pods
        """Namespaces by pod name."""

    async def get(self, port: int, path: str, *, method: str = "GET") -> str:
        """A page's body, whatever its status."""
        return await asyncio.to_thread(self._get, port, path, method)

    async def dump(self) -> dict[str, Any]:
        """Its config dump."""
        return dict(json.loads(await self.get(ADMIN_PORT, "/config_dump")))

    def _get(self, port: int, path: str, method: str) -> str:
        with inside(self.netns.fd):
            sock = socket.socket()
        with sock:
            sock.settimeout(PATIENCE_S)
            sock.connect(("127.0.0.1", port))
            sock.sendall(f"{method} {path} HTTP/1.0\r\nhost: localhost\r\n\r\n".encode())
            answer = b"".join(iter(lambda: sock.recv(1 << 20), b""))
        return answer.partition(b"\r\n\r\n")[2].decode()

    async def _ready(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    if await self.get(READINESS_PORT, "/healthz/ready") == "ready\n":
                        return
                except OSError:
                    pass
                await asyncio.sleep(0.05)  # another process's state


@asynccontextmanager
async def ztunnel(
    folder: Path, mesh: Mapping[str, object], pods: Sequence[PodInfo]
) -> AsyncIterator[Ztunnel]:
    """One that is ready, with these pods in empty namespaces."""
    program = binary(folder)
    (folder / "mesh.yaml").write_text(_yaml(mesh))
    ca = Ca()
    (folder / "root.pem").write_text(pem(ca.root))
    async with AsyncExitStack() as stack:
        netns = stack.enter_context(new_netns())
        made = Ztunnel(netns, {pod.name: stack.enter_context(new_netns()) for pod in pods})
        agent = stack.enter_context(Agent(folder / "zds.sock"))
        with inside(netns.fd):
            entering = grpc_ca(None, lambda request: ca.answer(request.csr), tls=ca)
            calls = await stack.enter_async_context(entering)
        environment = {
            "CA_ADDRESS": f"https://localhost:{calls.port}",
            "CA_ROOT_CA": str(folder / "root.pem"),
            "ALT_CA_HOSTNAME": "istiod.istio-system.svc",
            "XDS_ADDRESS": "",
            "LOCAL_XDS_PATH": str(folder / "mesh.yaml"),
            "INPOD_UDS": str(folder / "zds.sock"),
            "PROXY_MODE": "shared",
            "NODE_NAME": "node-a",
            "CLUSTER_ID": "Kubernetes",
            "ZTUNNEL_WORKER_THREADS": "1",
            "RUST_LOG": "info",
        }
        stack.enter_context(_process(program, netns, environment, folder / "ztunnel.log"))
        await agent.accept()
        for pod in pods:
            assert await agent.add(pod, made.pods[pod.name]) == ""
        assert await agent.ask(snapshot_sent()) == ""
        await made._ready()
        yield made


@contextmanager
def talking(netns: Netns) -> Iterator[None]:
    """A pod with an address, somebody out of the mesh on its loopback, and a connection each way."""
    for address in (CLIENT, ELSEWHERE):
        run_in(netns, "ip", "address", "add", f"{address}/32", "dev", "lo")
    run_in(netns, "sh", "-c", f"iptables-legacy-restore <<'E'\n{RULES}E\n")
    with ExitStack() as stack:
        for address, port in ((CLIENT, 8080), (ELSEWHERE, 80)):
            with inside(netns.fd):
                server = stack.enter_context(socket.create_server((address, port)))
                stack.enter_context(socket.create_connection((address, port), timeout=PATIENCE_S))
            server.settimeout(PATIENCE_S)
            stack.enter_context(server.accept()[0])
        yield


@contextmanager
def _process(program: Path, netns: Netns, environment: Mapping[str, str], log: Path) -> Iterator[None]:
    command = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns.fd}", str(program), "proxy"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _yaml(mesh: Mapping[str, object]) -> str:
    """A mesh document as ztunnel reads a file: ports are numbers, and how texts compare is a tag."""
    text = re.sub(r'"(\d+)":', r"\1:", json.dumps(mesh))
    return re.sub(r'\{"(Exact|Prefix|Suffix|Presence)": ("[^"]*"|\[\]|\{\}|null)\}', r"!\1 \2", text)
