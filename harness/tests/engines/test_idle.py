"""The idle process: it waits, and ends well when told to."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

# The signals are blocked before the child says that it is ready, so none can come too early.
PROGRAM = """
import signal
from harness.engines import idle
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
print("ready", flush=True)
idle.main()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_waits_and_ends_with_zero_when_told_to(number: int) -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()

        assert process.poll() is None
        process.send_signal(number)

        assert process.wait(10) == 0


def test_it_imports_little() -> None:
    program = (
        "import sys; before = len(sys.modules); import harness.engines.idle; print(len(sys.modules) - before)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert int(done.stdout) < 20
