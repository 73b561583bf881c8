"""`pyztunnel --mode explicit` as it is run, asked by curl, where there is no Linux and no root."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from proxy.tests.ca import grpc_ca
from proxy.tests.explicit.reach import (
    NAME,
    VIP,
    CaHere,
    app_socket,
    document,
    inbound,
    server_address,
)
from proxy.tests.sockets import PATIENCE_S, free_port, run

CURL = shutil.which("curl")

ELSEWHERE = """
import asyncio, os, socket, sys
import multiprocessing, subprocess  # the standard library of this platform may use what is its own
for module in ("fcntl", "resource", "pwd", "grp"):
    sys.modules[module] = None
for owner, names in (
    (os, ("memfd_create", "setns")),
    (socket, ("SOCK_NONBLOCK", "SOCK_CLOEXEC", "SOCK_SEQPACKET", "SO_REUSEPORT", "SO_MARK", "AF_NETLINK",
              "TCP_USER_TIMEOUT", "MSG_CMSG_CLOEXEC", "SCM_RIGHTS")),
):
    for name in names:
        if hasattr(owner, name):
            delattr(owner, name)
from proxy import main, serve
from proxy.explicit import listener
if os.geteuid() == 0:
    os.setgroups([]); os.setresgid(65534, 65534, 65534); os.setresuid(65534, 65534, 65534)
main.main(sys.argv[1:])
"""
"""Takes away what other platforms have not, and root."""

RETRYING = ("--retry-connrefused", "--retry-all-errors", "--retry-delay", "1")

pytestmark = pytest.mark.skipif(
    CURL is None and os.environ.get("CI") != "true", reason="curl is not installed"
)


async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nmesh\n")
    await writer.drain()
    writer.close()


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A folder that another user may look into, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o777)
        yield Path(folder)


@contextmanager
def explicit_proxy(folder: Path, port: int, ready_port: int) -> Iterator[subprocess.Popen[str]]:
    env = {
        **os.environ,
        "PROXY_WORKLOAD_INFO": "ns/client/client",
        "PYZTUNNEL_SOCKS_LISTEN": f"127.0.0.1:{port}",
        "PYZTUNNEL_ADMIN_PORT": "off",
        "PYZTUNNEL_STATS_PORT": "off",
        "PYZTUNNEL_READINESS_PORT": str(ready_port),
        "LOCAL_XDS_PATH": str(folder / "mesh.json"),
        "PYZTUNNEL_LOOP": "asyncio",
        "CA_ADDRESS": f"unix://{folder / 'ca.sock'}",
    }
    command = [sys.executable, "-c", ELSEWHERE, "--mode", "explicit"]
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


async def curl(*arguments: str) -> tuple[int, str]:
    """Its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        str(CURL),
        "-sS",
        "--max-time",
        str(PATIENCE_S),
        *arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode()


def test_curl_reaches_a_mesh_service_without_linux_and_without_root() -> None:
    async def test() -> None:
        with shared_folder() as folder:
            address, authority = server_address(), CaHere()
            app = app_socket(address)
            mesh = document(address, int(app.getsockname()[1]))
            (folder / "mesh.json").write_bytes(mesh)
            port, ready_port = free_port(), free_port()
            async with grpc_ca(folder / "ca.sock", lambda request: authority.ca.answer(request.csr)):
                (folder / "ca.sock").chmod(0o777)
                async with asyncio.TaskGroup() as tasks:
                    serving = await asyncio.start_server(page, sock=app)
                    async with inbound(tasks, authority, mesh, address) as server:
                        with explicit_proxy(folder, port, ready_port) as process:
                            readiness = f"http://127.0.0.1:{ready_port}/healthz/ready"
                            _, said = await curl("-f", "--retry", "60", *RETRYING, readiness)
                            assert said.endswith("ready\n"), said
                            proxy = f"127.0.0.1:{port}"

                            by_name = await curl("--socks5-hostname", proxy, f"http://{NAME}/")
                            by_address = await curl("--socks5", proxy, f"http://{VIP}/")
                            own_port = await curl("--socks5", proxy, f"http://127.0.0.1:{ready_port}/")

                            assert by_name == (0, "mesh\n")
                            assert by_address == (0, "mesh\n")
                            assert own_port[0] == 97  # CURLE_PROXY
                            process.send_signal(signal.SIGTERM)
                            _, log = await asyncio.to_thread(process.communicate)
                            assert process.returncode == 0, log
                            assert log.count('direction="outbound"') == 3
                        peers = {str(record.source_identity) for record in server.telemetry.completed}
                        assert peers == {"spiffe://cluster.local/ns/ns/sa/client"}
                        serving.close()

    run(test())
