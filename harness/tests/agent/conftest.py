"""Namespaces for tests: each is held by a process of its own and goes when that process does."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator

import pytest

from harness.agent import netns

MakeNamespace = Callable[[], str]
"""Makes a network namespace, returns its path."""


@pytest.fixture(scope="module")
def make_namespace() -> Iterator[MakeNamespace]:
    """Make empty network namespaces that last until the module's tests are over."""
    holders: list[int] = []

    def make() -> str:
        ready, tell = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                netns.fresh()
                os.write(tell, b"x")
            finally:
                os.close(tell)
                os.close(alive)
                # hold on for as long as the test process lives
                os.read(hold, 1)
                os._exit(0)
        os.close(tell)
        holders.append(pid)
        with os.fdopen(ready, "rb") as reader:
            if not reader.read(1):
                pytest.skip("no right to make network namespaces: run as root, or in a user namespace")
        return f"/proc/{pid}/ns/net"

    hold, alive = os.pipe()
    try:
        yield make
    finally:
        for pid in holders:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        os.close(hold)
        os.close(alive)
