"""The machine around the cell: stolen time, load, throttling, pressure, clocks, and how fast it is.

`sample` reads the machine; nothing else here has effects. What a kernel does not offer is null.
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.cgroups import limiting
from harness.evidence.sources.document import Fields, new

NAME = "host"

_CPU_FIELDS = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal")
"""The first columns of the `cpu` line of /proc/stat, ticks (proc(5))."""

_REFERENCE_LOOPS = 9
_REFERENCE_BLOCK = bytes(128 * 1024)
"""Hashed in 82 to 87 us here: short enough to fit between two scheduling ticks of a busy machine. A hash is
one long chain of dependent steps, so it shows the core's speed and not whether the sibling hyperthread is
busy, which the cell's own processes make it; the time of a loop in Python doubles then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The machine at one moment."""

    monotonic_ns: int
    boottime_ns: int
    """Counts on while the machine is suspended, which the monotonic clock does not."""
    ticks: Mapping[str, int]
    load_1: float
    throttled: int | None
    """Periods in which our cgroup or one above it was throttled; None where no cgroup can be read."""
    cpu_pressure_us: int | None
    """Time in which some task waited for a CPU; None where the kernel does not account pressure."""
    memory_pressure_us: int | None
    io_pressure_us: int | None
    """Likewise for memory, and for a disk."""
    reference_ns: int
    """The fastest of a few runs of a fixed computation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """The machine before and after the cell."""

    before: Moment
    after: Moment

    @property
    def steal_share(self) -> float:
        """Stolen CPU time per CPU time that there was."""
        total = sum(self.after.ticks.values()) - sum(self.before.ticks.values())
        return (self.after.ticks["steal"] - self.before.ticks["steal"]) / max(1, total)

    @property
    def throttled(self) -> int | None:
        """Periods in which our cgroup or one above it was throttled during the cell; None: not known."""
        if self.after.throttled is None or self.before.throttled is None:
            return None
        return self.after.throttled - self.before.throttled

    @property
    def unsaid(self) -> tuple[str, ...]:
        """What this machine does not tell, with the reason."""
        if self.throttled is None:
            return ("whether a cgroup's limit throttled us (no cpu.stat of our cgroup can be read)",)
        return ()

    @property
    def drift(self) -> float:
        """Relative change of the fixed computation's time: 0.05 is 5 % slower after than before."""
        return self.after.reference_ns / self.before.reference_ns - 1

    @property
    def suspended_ns(self) -> int:
        """Time for which the machine was suspended during the cell."""
        gap_after = self.after.boottime_ns - self.after.monotonic_ns
        return gap_after - (self.before.boottime_ns - self.before.monotonic_ns)


def sample() -> dict[str, Any]:
    """The machine now: about 2 ms, most of it the fixed computation."""
    return {
        "monotonic_ns": time.clock_gettime_ns(time.CLOCK_MONOTONIC),
        "boottime_ns": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        "ticks": ticks(),
        "load_1": os.getloadavg()[0],
        "throttled": _throttled(),
        **{f"{kind}_pressure_us": _pressure(kind) for kind in ("cpu", "memory", "io")},
        "reference_ns": min(_reference() for _ in range(_REFERENCE_LOOPS)),
    }


def collect(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """The document from two samples."""
    return new(NAME, before=dict(before), after=dict(after))


def read(documents: Mapping[str, Any]) -> Host:
    """The typed readings.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    return Host(before=_moment(fields.child("before")), after=_moment(fields.child("after")))


def _moment(fields: Fields) -> Moment:
    return Moment(
        monotonic_ns=fields.integer("monotonic_ns"),
        boottime_ns=fields.integer("boottime_ns"),
        ticks=fields.child("ticks").counts(),
        load_1=fields.number("load_1"),
        throttled=fields.integer("throttled") if fields.has("throttled") else None,
        cpu_pressure_us=fields.integer("cpu_pressure_us") if fields.has("cpu_pressure_us") else None,
        memory_pressure_us=fields.integer("memory_pressure_us") if fields.has("memory_pressure_us") else None,
        io_pressure_us=fields.integer("io_pressure_us") if fields.has("io_pressure_us") else None,
        reference_ns=fields.integer("reference_ns"),
    )


def ticks() -> dict[str, int]:
    """What all CPUs together did so far, by kind, in clock ticks."""
    with Path("/proc/stat").open() as stat:
        columns = stat.readline().split()[1:]
    return {name: int(value) for name, value in zip(_CPU_FIELDS, columns, strict=False)}


def _throttled(root: Path = Path("/")) -> int | None:
    """`nr_throttled` of our own cgroup and of those above it: a limit holds for all that is below.

    A cgroup without a limit counts 0, a version 2 cgroup without the controller has no such line.
    """
    total, seen = 0, False
    for folder in limiting("cpu", root):
        try:
            text = (folder / "cpu.stat").read_text()
        except OSError:
            continue
        seen = True
        if found := re.search(r"^nr_throttled (\d+)$", text, re.MULTILINE):
            total += int(found[1])
    return total if seen else None


def _pressure(kind: str) -> int | None:
    try:
        text = (Path("/proc/pressure") / kind).read_text()
    except OSError:
        return None
    found = re.search(r"^some .*total=(\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else None


def _reference() -> int:
    started = time.perf_counter_ns()
    hashlib.sha256(_REFERENCE_BLOCK).digest()
    return time.perf_counter_ns() - started
