"""Apps as processes of their own, for tests that measure: `python -m proxy.tests.apps`, with
`answer PORT`, `echo PORT` or `ping ADDRESS PORT`, in the namespace that nsenter puts them into.
"""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from proxy.net.namespace import Netns

PERIOD_S = 0.005
"""Between two pings; timed from when they are due, so that a stall is seen by all that it delays."""


@contextmanager
def app(netns: Netns, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The app, as soon as it is ready; killed after the block."""
    process = subprocess.Popen(
        ["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns.fd}", sys.executable, "-m", __name__, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def pings(process: subprocess.Popen[str]) -> list[tuple[float, float]]:
    """End a pinging app; (when due, seconds until answered) of each ping, on the monotonic clock."""
    output, _ = process.communicate("", timeout=20)
    return [(due_s, taken_s) for due_s, taken_s in json.loads(output)]


def _ready() -> None:
    sys.stdout.write("ready\n")
    sys.stdout.flush()


def _answer(port: int) -> None:
    """Takes a byte from each connection, gives it back, and holds them all."""
    held = []
    with socket.create_server(("0.0.0.0", port), backlog=4096) as listener:
        _ready()
        while True:
            sock, _ = listener.accept()
            sock.sendall(sock.recv(1))
            held.append(sock)


def _echo(port: int) -> None:
    """Gives one connection back what it sends."""
    with socket.create_server(("0.0.0.0", port)) as listener:
        _ready()
        sock, _ = listener.accept()
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with sock:
            while part := sock.recv(65536):
                sock.sendall(part)


def _ping(address: str, port: int) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    with socket.create_connection((address, port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.sendall(b"x" * 64)
        sock.recv(64, socket.MSG_WAITALL)
        _ready()
        due_s = monotonic()
        while not select.select([sys.stdin], [], [], max(0.0, due_s - monotonic()))[0]:
            sock.sendall(b"x" * 64)
            sock.recv(64, socket.MSG_WAITALL)
            found.append((due_s, monotonic() - due_s))
            due_s += PERIOD_S
    return found


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["answer", port]:
            _answer(int(port))
        case ["echo", port]:
            _echo(int(port))
        case ["ping", address, port]:
            sys.stdout.write(json.dumps(_ping(address, int(port))))
