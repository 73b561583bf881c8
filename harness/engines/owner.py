"""Who made a run, and whether that process still lives.

A pid alone is not an identity: numbers are used again. A pid with its start time is one, within one
boot and one pid namespace; both are recorded, and what comes from elsewhere is never judged dead.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Self


class Life(StrEnum):
    """What is known of a run's owner."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """The owner belongs to another pid namespace (a container): it cannot be seen from here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A process, for ever: its uid, pid and start time, and where these numbers mean something."""

    uid: int
    pid: int
    start: int
    """Field 22 of /proc/PID/stat: clock ticks since boot."""
    boot: str
    """/proc/sys/kernel/random/boot_id, the first 8 digits."""
    pid_namespace: str
    """Inode of /proc/PID/ns/pid."""

    @classmethod
    def current(cls) -> Self:
        """This process."""
        pid = os.getpid()
        start = start_time(pid)
        if start is None:
            raise RuntimeError("/proc is not mounted: cannot tell when this process started")
        return cls(uid=os.getuid(), pid=pid, start=start, boot=_boot(), pid_namespace=_pid_namespace())

    @classmethod
    def parse(cls, text: str) -> Self:
        """The owner that `str` wrote.

        Raises:
            ValueError: It was not written by `str`.
        """
        uid, pid, start, boot, pid_namespace = text.split(":")
        return cls(uid=int(uid), pid=int(pid), start=int(start), boot=boot, pid_namespace=pid_namespace)

    def __str__(self) -> str:
        return f"{self.uid}:{self.pid}:{self.start}:{self.boot}:{self.pid_namespace}"

    @property
    def life(self) -> Life:
        """Whether the process still runs."""
        if self.boot != _boot():
            return Life.DEAD
        if self.pid_namespace != _pid_namespace():
            return Life.UNKNOWN
        return Life.ALIVE if start_time(self.pid) == self.start else Life.DEAD


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is none (a zombie is none)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field, the program's name in parentheses, may hold spaces and parentheses itself.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in {"Z", "X"} else int(fields[19])


def _boot() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text()[:8]


def _pid_namespace() -> str:
    return str(Path("/proc/self/ns/pid").readlink()).strip("pid:[]")
