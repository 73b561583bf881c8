"""A real ztunnel, in shared mode, with an agent that hands it pods and a CA that signs.

It reads its mesh document once, at its start. Its access log is its answer: a line for each connection, with
where it went. Its own packets go nowhere but to the pod itself, so that what it would dial fails at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from proxy.inpod.api import PodInfo
from proxy.net.namespace import Netns, inside
from proxy.tests.ca import Ca, grpc_ca, pem
from proxy.tests.inpod.agent import Agent, snapshot_sent
from proxy.tests.namespaces import new_netns, run_in

NODE = "node-a"
"""Its node."""
PATIENCE_S = 20.0

_TABLE = """\
*nat
{rules}
COMMIT
"""
_CAPTURE = "-A OUTPUT ! -o lo -p tcp -m mark ! --mark 0x539/0xfff -j REDIRECT --to-ports 15001"


@contextmanager
def caller(*addresses: str) -> Iterator[Netns]:
    """A pod with these addresses: what its apps dial is captured, what ztunnel dials for them fails."""
    with new_netns() as netns:
        run_in(netns, "ip", "link", "add", "eth0", "type", "veth", "peer", "name", "wire")
        script = ["ip link set eth0 up", "ip link set wire up"]
        for family in ("-4", "-6"):
            script += [
                f"ip {family} rule add fwmark 0x539/0xfff lookup 200",
                f"ip {family} route add unreachable default table 200",
            ]
        _configure(netns, "eth0", addresses, _CAPTURE, _CAPTURE, *script)
        run_in(netns, "sh", "-ec", "ip -4 route add default dev eth0; ip -6 route add default dev eth0")
        yield netns


@contextmanager
def called(own: Mapping[int, str], callers: Sequence[str], ports: Sequence[int]) -> Iterator[Netns]:
    """A pod that callers in its own namespace, with their own addresses, reach on `lo`.

    By HBONE as it is; what they send to `ports` of it in plaintext is captured.
    """
    rules = {
        version: "\n".join(
            f"-A OUTPUT -d {address} -p tcp --dport {port} -m mark ! --mark 0x539/0xfff "
            "-j REDIRECT --to-ports 15006"
            for port in ports
        )
        for version, address in own.items()
    }
    with new_netns() as netns:
        _configure(netns, "lo", [*own.values(), *callers], rules[4], rules[6])
        yield netns


def _configure(netns: Netns, device: str, addresses: Sequence[str], *script: str) -> None:
    """Addresses, rules of both families (the script's first two lines), and commands before them."""
    rules4, rules6, *commands = script
    commands += [
        f"ip address add {each}/{128 if ':' in each else 32} dev {device} {'nodad' if ':' in each else ''}"
        for each in addresses
    ]
    for restore, rules in (("iptables-legacy-restore", rules4), ("ip6tables-legacy-restore", rules6)):
        commands.append(f"{restore} <<'E'\n{_TABLE.format(rules=rules)}E")
    run_in(netns, "sh", "-ec", "\n".join(commands))


@dataclass
class Ztunnel:
    """One that runs."""

    process: asyncio.subprocess.Process
    netns: Netns
    log: Path
    ca: Ca
    _read: int = 0
    _lines: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def line(self, source: str) -> dict[str, Any]:
        """The access line of the connection from `source`, `address:port`, as soon as it is there."""
        async with asyncio.timeout(PATIENCE_S):
            while source not in self._lines:
                assert self.process.returncode is None, _tail(self.log)
                await asyncio.sleep(0.005)
                self._read_on()
        return self._lines.pop(source)

    def _read_on(self) -> None:
        with self.log.open("rb") as file:
            file.seek(self._read)
            whole, _, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + bool(whole)
        for line in whole.splitlines():
            if b'"src.addr"' in line:
                fields = json.loads(line)
                self._lines[fields["src.addr"]] = fields

    def config_dump(self) -> Any:
        """How it read its document, by its admin port."""
        with inside(self.netns.fd), socket.create_connection(("127.0.0.1", 15000), PATIENCE_S) as sock:
            sock.sendall(b"GET /config_dump HTTP/1.0\r\nhost: localhost\r\n\r\n")
            answer = b""
            while part := sock.recv(1 << 20):
                answer += part
        return json.loads(answer.partition(b"\r\n\r\n")[2])


def _as_yaml(document: str) -> str:
    """As ztunnel's parser wants it: no texts for ports, and tags for the ways in which texts are compared."""
    with_ports = re.sub(r'"(\d+)":', r"\1:", document)
    return re.sub(r'\{"(Exact|Prefix|Suffix|Presence)": ("[^"]*"|\[\])\}', r"!\1 \2", with_ports)


@asynccontextmanager
async def ztunnel(
    program: Path, folder: Path, document: Mapping[str, Any], pods: Mapping[PodInfo, Netns]
) -> AsyncIterator[Ztunnel]:
    """Start it with a mesh document and these pods; it is killed at the end."""
    ca, log = Ca(), folder / "log"
    (folder / "mesh.yaml").write_text(_as_yaml(json.dumps(document)))
    (folder / "root.pem").write_text(pem(ca.root))
    with new_netns() as netns, Agent(folder / "zds.sock") as agent:
        with inside(netns.fd):
            authority = grpc_ca(None, lambda request: ca.answer(request.csr), tls=ca)
            calls = await authority.__aenter__()
        environment = {
            "XDS_ADDRESS": "",
            "LOCAL_XDS_PATH": str(folder / "mesh.yaml"),
            "CA_ADDRESS": f"https://localhost:{calls.port}",
            "CA_ROOT_CA": str(folder / "root.pem"),
            "ALT_CA_HOSTNAME": "istiod.istio-system.svc",
            "PROXY_MODE": "shared",
            "INPOD_UDS": str(folder / "zds.sock"),
            "NODE_NAME": NODE,
            "CLUSTER_ID": "Kubernetes",
            "ZTUNNEL_WORKER_THREADS": "1",
            "RUST_LOG": "warn,access=info",
            "LOG_FORMAT": "json",
        }
        with log.open("wb") as out:
            command = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns.fd}", str(program), "proxy"]
            process = await asyncio.create_subprocess_exec(
                *command, env=environment, stdout=out, stderr=out, cwd=folder
            )
        try:
            await _said_hello(agent, process, log)
            for pod, namespace in pods.items():
                assert await agent.add(pod, namespace) == ""
            assert await agent.ask(snapshot_sent()) == ""
            yield Ztunnel(process, netns, log, ca)
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            await authority.__aexit__(None, None, None)


async def _said_hello(agent: Agent, process: asyncio.subprocess.Process, log: Path) -> None:
    """Wait for it to connect; fail with what it says when it ends before."""
    hello, ended = asyncio.ensure_future(agent.accept()), asyncio.ensure_future(process.wait())
    await asyncio.wait((hello, ended), return_when=asyncio.FIRST_COMPLETED)
    ended.cancel()
    if not hello.done():
        agent.listener.close()
        pytest.fail(f"the real ztunnel ended at its start: {_tail(log)}")
    await hello


def _tail(log: Path) -> str:
    return log.read_text()[-2000:]
