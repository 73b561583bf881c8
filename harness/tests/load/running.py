"""Load processes, and what they talk to, for their tests."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from harness.agent.sockets import SocketServer, tcp_sockets
from harness.control import Channel, Reply, serve
from harness.load.wire import Target
from harness.tests.backends.running import ADDRESS, Backend

SOURCE = "127.0.0.1"
"""What a backend on loopback sees: nobody binds, so the kernel picks it."""


@cache
def sockets() -> Path:
    """Where load processes get sockets of this process's own namespace, whichever one they name."""
    path = Path(tempfile.mkdtemp(prefix="sockets-")) / "sockets.sock"
    SocketServer(path, lambda _, family, count: tcp_sockets(family, count)).__enter__()
    return path


def lane(target: Target, number: int = 0, **more: Any) -> dict[str, Any]:
    """A lane of a request, out of this process's namespace."""
    return {
        "lane": number,
        "sockets": str(sockets()),
        "namespace": "pod-client",
        "source": SOURCE,
        "target": asdict(target),
        **more,
    }


def target(backend: Backend, port: int | None = None, *, pod: str = "", node: str = "") -> Target:
    """The backend as a target; `pod` and `node` where a test expects another one to answer."""
    return Target(
        address=backend.address,
        port=port or backend.app_port,
        pod=pod or backend.pod,
        node=node or backend.node,
    )


@contextmanager
def load_process(module: str, path: Path, *arguments: str) -> Iterator[Channel]:
    """A load process and a channel to it; it ends with code 0 on SIGTERM, or the test fails."""
    process = subprocess.Popen([sys.executable, "-m", module, "--socket", str(path), *arguments])
    try:
        with Channel(path, connect_timeout_s=20) as channel:
            yield channel
    finally:
        process.terminate()
        assert process.wait(timeout=10) == 0


@contextmanager
def server(converse: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server on `ADDRESS` in which a test's function holds each conversation; yields its port."""

    def work() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=hold, args=(connection,), daemon=True).start()

    def hold(connection: socket.socket) -> None:
        with connection:
            try:
                converse(connection)
            except OSError:
                return

    listener = socket.create_server((ADDRESS, 0))
    accepting = threading.Thread(target=work, daemon=True)
    accepting.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(timeout=10)


class BenchSocket:
    """A proxy's bench socket that writes down what it was asked."""

    def __init__(self, path: Path, *, residual: int = 0) -> None:
        self.path = path
        self.calls: list[str] = []
        self._residual = residual
        handlers = {op: self._handler(op) for op in ("drop-tunnels", "nothing")}
        threading.Thread(target=serve, args=(path, handlers), daemon=True).start()
        Channel(path, connect_timeout_s=10).close()

    def _handler(self, op: str) -> Callable[[dict[str, Any]], Reply]:
        def answer(_: dict[str, Any]) -> Reply:
            self.calls.append(op)
            return Reply(document={"tunnels_outbound": self._residual, "tunnels_inbound": 0})

        return answer
