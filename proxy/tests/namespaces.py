"""Network namespaces for tests: without a name, so nothing is left when the test ends however it ends."""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pytest

from proxy.net.namespace import CLONE_NEWNET, Netns, inside
from proxy.net.sockets import connect_sockets

SIOCSIFFLAGS = 0x8914
"""linux/sockios.h"""
IFF_UP = 1
"""linux/if.h"""


@contextmanager
def new_netns() -> Iterator[Netns]:
    """A fresh namespace with its loopback up; where that is not allowed, skips the test (fails it in CI)."""
    made: list[Netns] = []
    failure: list[int] = []

    def make() -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET) != 0:
            failure.append(ctypes.get_errno())
        else:
            made.append(Netns.own())

    thread = Thread(target=make)
    thread.start()
    thread.join()
    if failure:
        missing = f"network namespaces: {os.strerror(failure[0])}; run as root or in a user namespace"
        if os.environ.get("CI") == "true":
            pytest.fail(f"has to work where CI=true: {missing}", pytrace=False)
        pytest.skip(missing)
    with made[0] as netns:
        with inside(netns.fd), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            fcntl.ioctl(sock, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
        yield netns


def connect_socket(netns_fd: int | None, family: socket.AddressFamily, *, mark: int) -> socket.socket:
    """An outgoing socket as the proxy makes them, several at a time."""
    (sock,) = connect_sockets(netns_fd, family, 1, mark=mark)
    return sock


def run_in(netns: Netns, *command: str) -> str:
    """Run a command inside the namespace; its output."""
    done = subprocess.run(
        ["nsenter", f"--net=/proc/{os.getpid()}/fd/{netns.fd}", *command],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def open_descriptors() -> int:
    """How many this process has open."""
    return len(list(Path("/proc/self/fd").iterdir()))
