"""When the processes that carry a lane began, and when the lane was placed for the round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.evidence.sources.document import Fields, new

NAME = "starts"
TICK_NS = 10_000_000
"""Resolution of a process's start. Source: proc(5), /proc/PID/stat, starttime, in clock ticks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Starts:
    """Both in CLOCK_BOOTTIME, ns."""

    placed_ns: int
    """Right before the lane's proxies of the round before were stopped."""
    proxies: Mapping[str, int]
    """Member -> its start; empty without a data plane."""


def collect(placed_ns: int, proxies: Mapping[str, int]) -> dict[str, Any]:
    """The document."""
    return new(NAME, placed_ns=placed_ns, proxies=dict(proxies))


def read(documents: Mapping[str, Any]) -> Starts:
    """The typed reading.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    return Starts(placed_ns=fields.integer("placed_ns"), proxies=fields.child("proxies").counts())


def started_ns(pid: int) -> int:
    """When a process began.

    Raises:
        OSError: There is no such process.
    """
    after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return int(after_name[19]) * TICK_NS
