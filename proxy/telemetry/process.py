"""What this process uses, under the names that Prometheus's own clients give. Linux alone; else nothing.

Source: proc_pid_stat(5); prometheus.io, "Process metrics".
"""

from __future__ import annotations

import os
from pathlib import Path

PROC = Path("/proc/self")
_UTIME, _STIME, _START, _VSIZE, _RSS = 11, 12, 19, 20, 21
"""Fields of `stat` behind the command's name, which may have spaces and brackets in it."""


def values() -> dict[str, float]:
    """By full name; seconds, bytes, descriptors. Files are read: this is nothing for the loop."""
    try:
        stat = (PROC / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        descriptors = sum(1 for _ in (PROC / "fd").iterdir()) - 1  # one is this listing's own
        limits = (PROC / "limits").read_text(encoding="ascii")
        booted_s = int(_line(Path("/proc/stat").read_text(encoding="ascii"), "btime "))
    except OSError:
        return {}
    tick = os.sysconf("SC_CLK_TCK")
    return {
        "process_cpu_seconds_total": (int(stat[_UTIME]) + int(stat[_STIME])) / tick,
        "process_open_fds": descriptors,
        "process_max_fds": int(_line(limits, "Max open files").split()[0]),
        "process_virtual_memory_bytes": int(stat[_VSIZE]),
        "process_resident_memory_bytes": int(stat[_RSS]) * os.sysconf("SC_PAGE_SIZE"),
        "process_start_time_seconds": booted_s + int(stat[_START]) / tick,
    }


def _line(text: str, name: str) -> str:
    """What stands behind a name at the beginning of a line."""
    return next(line for line in text.splitlines() if line.startswith(name)).removeprefix(name)
