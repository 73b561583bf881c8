"""Namespaces for tests: each is held by a process of its own and goes when that process does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

MakeNamespace = Callable[[], str]
"""Makes a network namespace, returns its path."""


@pytest.fixture(scope="module")
def make_namespace() -> Iterator[MakeNamespace]:
    """Make empty network namespaces that last until the module's tests are over."""
    with ExitStack() as holders:

        def make() -> str:
            # says a line once inside, then lives until its standard input ends
            holder = holders.enter_context(
                subprocess.Popen(
                    ["unshare", "--net", "sh", "-c", "ip link set lo up; echo inside; exec cat"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                )
            )
            assert holder.stdout is not None
            if not holder.stdout.readline():
                missing = "no right to make network namespaces: run as root, or in a user namespace"
                if os.environ.get("CI") == "true":
                    pytest.fail(f"has to work where CI=true: {missing}", pytrace=False)
                pytest.skip(missing)
            return f"/proc/{holder.pid}/ns/net"

        yield make
