"""A thousand connections of all kinds at a time, through two proxies of this process, and what stays behind.

Everything is on loopback and needs no root: SOCKS5, a tunnel, an app that echoes. The clients (`callers`)
and the app are processes of their own; this one has both proxies and nothing else that could grow.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

from proxy.telemetry import access
from proxy.tests.explicit.reach import Reach, reach
from proxy.tests.soak import descriptors
from proxy.tests.soak.app import app

CONNECTIONS: Final = 1000
ABORTS: Final = 1000
WARM_SHARE: Final = 1 / 3
"""Of the run: memory grows to its working size, and is not judged."""
SLOPE_LIMIT: Final = 1.0
"""MB of resident memory in 10 minutes. Runs shorter than that may grow by as much altogether."""
EACH_LIMIT_KB: Final = 100.0
"""Resident memory of one connection in both proxies together, its share of the tunnels included; 30 seen."""
SETTLE_S: Final = 60.0
"""For what ended to be gone."""


@dataclass
class Figures:
    """What a run did and what it left."""

    done: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    resident_mb: list[tuple[float, float]] = field(default_factory=list)
    """(seconds since the start, MB), one a second."""
    base_mb: float = 0.0
    """Before the connections, with a tunnel that was there."""
    descriptors: tuple[int, int] = (0, 0)
    """Before the connections, and after them and a thousand aborted responses."""
    tasks: tuple[int, int] = (0, 0)
    seconds: float = 0.0
    connections: int = CONNECTIONS
    aborts: int = ABORTS
    """Aborted responses that were wanted."""

    @property
    def judged(self) -> list[tuple[float, float]]:
        """Memory without the part in which it warms up."""
        return [
            sample for sample in self.resident_mb if self.seconds * WARM_SHARE <= sample[0] <= self.seconds
        ]

    @property
    def slope(self) -> float:
        """MB per 10 minutes (Theil-Sen: the median over pairs, which a single step does not carry away)."""
        samples = self.judged[:: max(1, len(self.judged) // 200)]
        pairs = [
            (later[1] - earlier[1]) / (later[0] - earlier[0])
            for at, earlier in enumerate(samples)
            for later in samples[at + 1 :]
        ]
        return 600 * median(pairs) if pairs else 0.0

    @property
    def each_kb(self) -> float:
        """Memory per connection, once it has grown to its working size."""
        grown = [mb - self.base_mb for _, mb in self.judged]
        return 1000 * median(grown) / self.connections if grown else 0.0

    def problems(self) -> list[str]:
        """What must not be; nothing when the run is good."""
        found = self.failures[:10]
        judged_s = self.judged[-1][0] - self.judged[0][0] if self.judged else 0.0
        if self.slope * min(1.0, judged_s / 600) > SLOPE_LIMIT:
            found.append(f"memory grows by {self.slope:.2f} MB in 10 minutes, limit {SLOPE_LIMIT} MB")
        if self.each_kb > EACH_LIMIT_KB:
            found.append(f"memory per connection: {self.each_kb:.0f} kB, limit {EACH_LIMIT_KB:.0f} kB")
        if self.descriptors[1] > self.descriptors[0]:
            found.append(f"descriptors: {self.descriptors[0]} before, {self.descriptors[1]} after")
        if self.tasks[1] > self.tasks[0]:
            found.append(f"tasks: {self.tasks[0]} before, {self.tasks[1]} after")
        if self.done["aborted response"] < self.aborts:
            found.append(f"{self.done['aborted response']} aborted responses, expected {self.aborts}")
        return found

    def __str__(self) -> str:
        first, last = self.judged[0][1], self.judged[-1][1]
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.done.items()))
        return (
            f"load: {self.seconds:.0f} s, {self.connections} connections at a time: {kinds}\n"
            f"memory: {first:.1f} MB after warming up, {last:.1f} MB at the end, "
            f"{self.slope:+.2f} MB in 10 minutes, {self.each_kb:.0f} kB per connection\n"
            f"descriptors: {self.descriptors[0]} -> {self.descriptors[1]}, "
            f"tasks: {self.tasks[0]} -> {self.tasks[1]}, failures: {len(self.failures)}"
        )


async def load(seconds: float, *, connections: int = CONNECTIONS, aborts: int = ABORTS, seed: int) -> Figures:
    """Load for a while, then abort responses, then wait until all is gone."""
    figures = Figures(seconds=seconds, connections=connections, aborts=aborts)
    descriptors.allow(connections)
    logging.getLogger("proxy").addHandler(_Tracebacks(figures))
    access.log.setLevel(logging.CRITICAL)  # junk and aborts are errors there
    settings: dict[str, Any] = {
        "socks_connections": 2 * connections,
        # Clients that others on this machine keep from asking in time are no fault of the proxies.
        "handshake_timeout_s": SETTLE_S,
    }
    async with reach(timeout_s=seconds + 600, app=app, **settings) as r:
        await _callers(
            r, figures, seconds=0, connections=1, aborts=10, seed=seed
        )  # tunnel, certificates, modules are there from now on
        figures.done.clear()
        before, figures.base_mb = await _settled(r), _resident_mb()
        async with asyncio.TaskGroup() as tasks:
            sampling = tasks.create_task(_sample(r, figures))
            await _callers(r, figures, seconds=seconds, connections=connections, aborts=aborts, seed=seed)
            sampling.cancel()
        after = await _settled(r, *before)
        figures.descriptors, figures.tasks = (before[0], after[0]), (before[1], after[1])
    return figures


async def _callers(
    r: Reach, figures: Figures, *, seconds: float, connections: int, aborts: int, seed: int
) -> None:
    """Run the clients in a process of their own: what they hold and fragment is not the proxies'."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy.tests.soak.callers"),
        *(str(value) for value in (r.socks_port, seconds, connections, aborts, seed)),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    said = await process.stdout.read()
    if code := await process.wait():
        raise RuntimeError(f"soak callers ended with {code}")
    answer = json.loads(said)
    figures.done.update(answer["done"])
    figures.failures += answer["failures"]


async def _sample(r: Reach, figures: Figures) -> None:
    began = time.monotonic()
    while True:
        now = time.monotonic()
        for side in (r.client, r.server):
            side.telemetry.completed.clear()  # kept for tests that look at them
        figures.resident_mb.append((now - began, _resident_mb()))
        await asyncio.sleep(1)


async def _settled(r: Reach, opened: int | None = None, tasks: int | None = None) -> tuple[int, int]:
    """Descriptors and tasks once connections and tunnels have ended, or what is left after a while."""
    r.client.context.tunnels.drop()
    deadline = time.monotonic() + SETTLE_S
    found = descriptors.count(), len(asyncio.all_tasks())
    while time.monotonic() < deadline:
        quiet = not (r.server.telemetry.stats.tunnels_inbound or r.client.telemetry.live)
        if quiet and found[0] <= (opened or found[0]) and found[1] <= (tasks or found[1]):
            break
        await asyncio.sleep(0.05)
        found = descriptors.count(), len(asyncio.all_tasks())
    return found


class _Tracebacks(logging.Handler):
    """A traceback in the log is a crash that was survived."""

    def __init__(self, figures: Figures) -> None:
        super().__init__(logging.WARNING)
        self._figures = figures

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self._figures.failures.append(f"{record.getMessage()}: {record.exc_info[1]!r}")


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6
