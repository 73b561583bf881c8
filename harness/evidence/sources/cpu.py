"""What the processes of a cell's path cost: CPU time, context switches, memory, stage by stage.

`Meter` reads /proc; nothing else here has effects. It works the same for containers and for namespaces, as
root or not: what is read there of another process is open to everybody.

A process' CPU time is that of its user code and of the kernel on its behalf. Packets to a local socket are
carried through veth links and rules in the sender's own time, so most of what the kernel does for a
connection is in here, in the time of whoever sent. What is left (ksoftirqd, other processes) is the machine's
time less that of these components.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, Self

from harness.evidence.sources.document import Fields, new
from harness.evidence.sources.host import ticks

NAME = "cpu"

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PROCESS_CLOCK = 2
"""CPUCLOCK_SCHED: the scheduler's own count of a process' time, nanoseconds, ended threads included.
Source: linux/posix-timers_types.h; clock_getcpuclockid(3) makes the same number."""


class Component(StrEnum):
    """Who on the path costs something."""

    GENERATOR = "generator"
    SOURCE_PROXY = "source-proxy"
    DESTINATION_PROXY = "destination-proxy"
    PROXY_OF_BOTH = "proxy-of-both-ends"
    """Client and target are on one node, and one proxy serves both."""
    BACKEND = "backend"

    @property
    def proxy(self) -> bool:
        """Whether it belongs to the data plane."""
        return self not in {Component.GENERATOR, Component.BACKEND}


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a component has used, since its processes began or between two readings."""

    cpu_ns: int
    """User and kernel time of all its threads."""
    user_ticks: int
    system_ticks: int
    """Of these, by the clock tick that found them there: exact over many cells, coarse in one."""
    voluntary: int
    """Context switches because it waited for something."""
    involuntary: int
    """Because its time was up or somebody else had to run."""
    waited_ns: int | None
    """Ready to run, without a CPU; None where the kernel does not account it (CONFIG_SCHED_INFO)."""
    rss_bytes: int
    """Memory at the later reading."""
    peak_bytes: int
    """The most it ever had."""

    @property
    def switches(self) -> int:
        """Context switches of both kinds."""
        return self.voluntary + self.involuntary

    def since(self, before: Self) -> Usage:
        """What was used since an earlier reading; memory is that of the later one."""
        known = self.waited_ns is not None and before.waited_ns is not None
        return Usage(
            cpu_ns=self.cpu_ns - before.cpu_ns,
            user_ticks=self.user_ticks - before.user_ticks,
            system_ticks=self.system_ticks - before.system_ticks,
            voluntary=self.voluntary - before.voluntary,
            involuntary=self.involuntary - before.involuntary,
            waited_ns=(self.waited_ns or 0) - (before.waited_ns or 0) if known else None,
            rss_bytes=self.rss_bytes,
            peak_bytes=self.peak_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """One stage: what each component used, and how long the machine as a whole was busy."""

    components: Mapping[Component, Usage]
    busy_ticks: int
    """Of all CPUs together, neither idle nor stolen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """What the proxies used for the probes of one state, by their own account."""

    probes: int
    cpu_ns: int
    switches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cpu:
    """What the cell cost."""

    stages: Mapping[str, Spent]
    first: Mapping[str, First]
    """First state -> its probes, each with its later requests and with the operation before it. `control`:
    such operations with nothing after them. Empty where the proxies do not say."""

    @property
    def unsaid(self) -> tuple[str, ...]:
        """What this kernel does not tell, with the reason."""
        used = [usage for spent in self.stages.values() for usage in spent.components.values()]
        if any(usage.waited_ns is None for usage in used):
            return ("how long processes waited for a CPU (no /proc/PID/schedstat)",)
        return ()


class Meter:
    """Reads what the components' processes have used so far."""

    def __init__(self, components: Mapping[Component, Sequence[int]]) -> None:
        """Take each component's processes by pid; their children are found when read."""
        self._components = components

    def sample(self) -> dict[str, Any]:
        """A reading of all of them, about 0.2 ms a process; a process that is gone counts for nothing."""
        children = _children_of()
        return {
            "ticks": ticks(),
            "components": {
                component.value: _sum([_process(pid) for root in pids for pid in _family(root, children)])
                for component, pids in self._components.items()
            },
        }


def collect(
    stages: Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]],
    first: Mapping[str, Any],
) -> dict[str, Any]:
    """The document from the readings around each stage, and from what the probe was told by the proxies."""
    return new(
        NAME,
        stages={
            name: {"before": dict(before), "after": dict(after)} for name, (before, after) in stages.items()
        },
        first=dict(first),
    )


def read(documents: Mapping[str, Any]) -> Cpu:
    """The typed readings.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    stages, first = fields.child("stages"), fields.child("first")
    return Cpu(
        stages={name: _spent(stages.child(name)) for name in stages},
        first={
            state: First(
                probes=first.child(state).integer("probes"),
                cpu_ns=first.child(state).integer("cpu_ns"),
                switches=first.child(state).integer("switches"),
            )
            for state in first
        },
    )


def _spent(stage: Fields) -> Spent:
    before, after = stage.child("before"), stage.child("after")
    used = after.child("components")
    return Spent(
        components={
            Component(name): _usage(used.child(name)).since(_usage(before.child("components").child(name)))
            for name in used
        },
        busy_ticks=_busy(after.child("ticks").counts()) - _busy(before.child("ticks").counts()),
    )


def _usage(fields: Fields) -> Usage:
    counts = {name: fields.integer(name) for name in _FIELDS if name != WAITED}
    return Usage(**counts, waited_ns=fields.integer(WAITED) if fields.has(WAITED) else None)


def _busy(counted: Mapping[str, int]) -> int:
    return sum(value for name, value in counted.items() if name not in {"idle", "iowait", "steal"})


# Reading /proc.

WAITED = "waited_ns"
_FIELDS = tuple(Usage.__dataclass_fields__)
_READ_BYTES = 65_536


def _sum(found: Sequence[Mapping[str, int]]) -> dict[str, int | None]:
    summed: dict[str, int | None] = {name: sum(each.get(name, 0) for each in found) for name in _FIELDS}
    return summed if _accounts_waiting() else {**summed, WAITED: None}


def _family(pid: int, children: Callable[[int], Sequence[int]]) -> list[int]:
    """A process and all its descendants."""
    found = [pid]
    for each in found:
        found += children(each)
    return found


def _children_of() -> Callable[[int], Sequence[int]]:
    """What gives a process' children now: the kernel's own list of them, else everybody's parent."""
    if _lists_children():
        return _listed_children
    found = defaultdict(list)
    for name in os.listdir("/proc"):  # noqa: PTH208 - names, as `_read` takes
        if name.isdecimal():
            with suppress(OSError, LookupError):  # it is gone
                parent = int(_read(f"/proc/{name}/stat").rpartition(b")")[2].split()[1])
                found[parent].append(int(name))
    return lambda pid: found.get(pid, [])


def _listed_children(pid: int) -> list[int]:
    try:
        return [int(child) for thread in _threads(pid) for child in _read(f"{thread}/children").split()]
    except OSError:
        return []


@cache
def _lists_children() -> bool:
    """Whether the kernel lists a process' children (CONFIG_PROC_CHILDREN): 0.1 ms, where looking takes 3."""
    return Path("/proc/thread-self/children").exists()


@cache
def _accounts_waiting() -> bool:
    return Path("/proc/thread-self/schedstat").exists()


def _process(pid: int) -> dict[str, int]:
    """One process; empty when it is gone."""
    folder = f"/proc/{pid}"
    try:
        cpu_ns = time.clock_gettime_ns((~pid << 3) | _PROCESS_CLOCK)
        # the name, in parentheses, may hold anything
        fields = _read(f"{folder}/stat").rpartition(b")")[2].split()
        status = _read(f"{folder}/status")
        threads = [_thread(thread) for thread in _threads(pid)]
    except OSError:
        return {}
    return {
        "cpu_ns": cpu_ns,
        "user_ticks": int(fields[11]),
        "system_ticks": int(fields[12]),
        "voluntary": sum(each[0] for each in threads),
        "involuntary": sum(each[1] for each in threads),
        WAITED: sum(each[2] for each in threads),
        "rss_bytes": _number(b"VmRSS", status) * 1024,
        "peak_bytes": _number(b"VmHWM", status) * 1024,
    }


def _threads(pid: int) -> list[str]:
    """The folders of a process' threads."""
    folder = f"/proc/{pid}/task"
    return [f"{folder}/{thread}" for thread in os.listdir(folder)]  # noqa: PTH208 - names, as `_read` takes


def _thread(folder: str) -> tuple[int, int, int]:
    """Voluntary and involuntary switches, and nanoseconds ready but not running; zeros when it is gone."""
    try:
        status = _read(f"{folder}/status")
        waited_ns = int(_read(f"{folder}/schedstat").split()[1]) if _accounts_waiting() else 0
    except OSError:
        return 0, 0, 0
    return (
        _number(b"voluntary_ctxt_switches", status),
        _number(b"nonvoluntary_ctxt_switches", status),
        waited_ns,
    )


def _number(name: bytes, status: bytes) -> int:
    """A number of a status file, 0 where it has none of that name; memory is in KiB there."""
    _, found, rest = status.partition(b"\n" + name + b":")
    return int(rest.split(None, 1)[0]) if found else 0


def _read(path: str) -> bytes:
    """A file of /proc, without a file object: a stage's readings are hundreds of these."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # The kernel may hand out a list of many children by the page.
        return b"".join(iter(lambda: os.read(descriptor, _READ_BYTES), b""))
    finally:
        os.close(descriptor)
