"""Memory of a burst goes back to the kernel, in a process of its own."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

BURST = """
import ctypes, sys
from proxy.allocator import give_back

class Mallinfo2(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

told = give_back() if sys.argv[1] == "told" else False
buffer = bytearray(1 << 22)
del buffer  # where nothing was told, the heap serves such sizes from now on
buffers, kept = [], []
for _ in range(20):
    buffers.append(bytearray(1 << 20))
    kept.append(bytearray(2000))  # outlives them, right behind
del buffers
mallinfo2 = ctypes.CDLL(None).mallinfo2
mallinfo2.restype = Mallinfo2
print(told, mallinfo2().fordblks >> 20)
"""


def burst(how: str) -> list[str]:
    """Whether the C library took the settings, and MiB of the heap free after a burst."""
    done = subprocess.run([sys.executable, "-c", BURST, how], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="of glibc alone")
def test_a_burst_leaves_no_heap_behind() -> None:
    told, free_mib = burst("told")

    assert told == "True"
    assert int(free_mib) <= 1
    assert int(burst("untold")[1]) >= 18  # or this test would show nothing
