"""A real backend on loopback, for the tests of whatever talks to one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from harness.backends.nginx import status_socket
from harness.tests.waiting import until

ADDRESS = f"127.{os.getpid() >> 16 & 0x7F}.{os.getpid() >> 8 & 0xFF}.{os.getpid() & 0xFF | 1}"
"""Loopback, and likely nobody else's: other test runs may be using the same ports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A running backend."""

    process: subprocess.Popen[bytes]
    state_dir: Path
    pod: str
    node: str
    app_port: int
    echo_port: int
    sink_port: int
    source_port: int
    address: str = ADDRESS

    def connect(self, port: int) -> socket.socket:
        """A connection to one of its ports, with a time-out for all that follows."""
        return socket.create_connection((self.address, port), timeout=10)

    @property
    def nginx_pid(self) -> int:
        """nginx's process: the backend's only child."""
        pid = self.process.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())


def free_ports(count: int) -> list[int]:
    """Ports of `ADDRESS` that nobody listens on, all different."""
    sockets = [socket.create_server((ADDRESS, 0)) for _ in range(count)]
    ports = [taken.getsockname()[1] for taken in sockets]
    for taken in sockets:
        taken.close()
    return ports


def await_listener(port: int, *, within_s: float = 10.0) -> None:
    """Return once `ADDRESS`:port accepts; the state that the tests wait for, in place of a sleep."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            socket.create_connection((ADDRESS, port), timeout=1).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
        else:
            return


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        return asking.connect_ex(str(path)) == 0


@contextmanager
def backend(
    state_dir: Path, *, pod: str = "server", node: str = "b", prefix: Sequence[str] = ()
) -> Iterator[Backend]:
    """Start a backend, wait until it answers, end it."""
    app, echo, sink, source = free_ports(4)
    command = [*prefix, sys.executable, "-m", "harness.backends", "--pod", pod, "--node", node]
    command += ["--state-dir", str(state_dir), "--address", ADDRESS, "--app-port", str(app)]
    command += ["--echo-port", str(echo), "--sink-port", str(sink), "--source-port", str(source)]
    process = subprocess.Popen(command)
    try:
        for port in (app, echo, sink, source):
            await_listener(port)
        # nginx listens on its ports before it does on its status socket, and serves none before all.
        until(lambda: _listens(status_socket(state_dir)))
        yield Backend(
            process=process,
            state_dir=state_dir,
            pod=pod,
            node=node,
            app_port=app,
            echo_port=echo,
            sink_port=sink,
            source_port=source,
        )
    finally:
        process.terminate()
        process.wait(timeout=10)
