"""One measuring run per host."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys

import pytest

from harness.errors import ExitCode
from harness.testbed.lock import Busy, MeasuringLock

HOLDER = """
import sys
from harness.testbed.lock import MeasuringLock
with MeasuringLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def name() -> str:
    """A lock that only this test uses."""
    return f"ambientbench-test-{secrets.token_hex(4)}"


def test_it_can_be_taken_again_when_it_was_given_back(name: str) -> None:
    with MeasuringLock(name):
        pass
    with MeasuringLock(name):
        pass


def test_a_second_one_is_refused_naming_the_first(name: str) -> None:
    """F68."""
    with (
        MeasuringLock(name),
        pytest.raises(Busy, match=rf"pid {os.getpid()}, uid {os.getuid()}, `.*pytest") as refused,
    ):
        MeasuringLock(name).__enter__()

    assert refused.value.exit_code is ExitCode.UNFIT


def test_it_dies_with_its_holder(name: str) -> None:
    """F69."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, name], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Busy, match=rf"pid {holder.pid}"):
            MeasuringLock(name).__enter__()
        holder.send_signal(signal.SIGKILL)
        holder.communicate()

        with MeasuringLock(name):
            pass
