"""One window of load: users join, all get ready, the window opens for all at once, all leave.

A stage knows nothing of Locust. A user class in suites/locustfiles names its stage's type, joins it
with a participant, lets that work through the window, and leaves.
"""

from __future__ import annotations

import gc
import math
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

import gevent
from gevent.event import Event

from harness.control import Refused
from harness.load.clock import NS_PER_S, Timer
from harness.load.wire import Target, Verification

READY_S = 10.0
"""How long all users together may take to connect and warm up."""
GRACE_S = 1.0
"""How long after the window's end an answer is awaited before its request counts as unanswered."""
LAG_INTERVAL_NS = 5_000_000
"""Pace of the lag probe: 200 looks a second cost about 0.5 % of a core."""


@dataclass(slots=True, kw_only=True)
class Tally:
    """What users counted for themselves: the other side of the books that the rows are."""

    requests: int = 0
    failures: int = 0
    total_ns: int = 0
    """Sum of the durations of those that did not fail."""
    bytes: int = 0

    def add(self, other: Tally) -> None:
        """Take another's counts in."""
        self.requests += other.requests
        self.failures += other.failures
        self.total_ns += other.total_ns
        self.bytes += other.bytes


class Recorder:
    """Rows of 64-bit integers in one buffer, made ahead and kept from stage to stage.

    To append: `pack(buffer, position, *row)`, then `position += size`, in place, for a method in between
    costs 1 us of the 15 that a request takes. `pack` raises struct.error where no room is left.
    """

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.begin(("",), 0)

    def begin(self, fields: Sequence[str], capacity: int) -> None:
        """Empty it, with room for so many rows; untouched room costs no memory."""
        layout = struct.Struct(f"<{len(fields)}q")
        self.pack = layout.pack_into
        self.size = layout.size
        self.position = 0
        if len(self.buffer) < capacity * self.size:
            self.buffer = bytearray(capacity * self.size)

    @property
    def rows(self) -> int:
        """Rows so far."""
        return self.position // self.size

    def column(self, index: int) -> list[int]:
        """One field of all rows."""
        used = memoryview(self.buffer)[: self.position].cast("q")
        return used[index :: self.size // 8].tolist()

    def fill(self, index: int, first: int, value: int) -> None:
        """Set one field of all rows from `first` on."""
        used, width = memoryview(self.buffer)[: self.position].cast("q"), self.size // 8
        for at in range(first * width + index, len(used), width):
            used[at] = value

    def payload(self) -> bytes:
        """All rows."""
        return bytes(memoryview(self.buffer)[: self.position])


class Stage:
    """The window and what happened in it."""

    fields: tuple[str, ...]
    settle_s = 0.0
    """Pause between the last user's readiness and the window, seconds."""
    ready_s = READY_S
    """How long all users together may take to connect and warm up."""
    grace_s = GRACE_S
    """How long after the window's end the last user is waited for."""

    def __init__(self, recorder: Recorder, *, target: Target, users: int, seconds: float, rows: int) -> None:
        self.target = target
        self.users = users
        self.started_ns = 0
        """0 until the window opens."""
        self.ended_ns = 0
        self.opened = 0
        """Connections opened."""
        self.verification = Verification()
        self.tally = Tally()
        self.recorder = recorder
        self.seconds = seconds
        self._joined = 0
        self._ready = 0
        self._left = 0
        self._all_ready = Event()
        self._all_left = Event()
        self.window = Event()
        """Set when the window opens."""
        recorder.begin(self.fields, rows)

    def wait(self) -> None:
        """Until the last user has left, or patience ends."""
        self._all_left.wait(self.seconds + self.grace_s)

    def document(self) -> dict[str, Any]:
        """What only this kind of stage tells."""
        return {}

    def number(self) -> int:
        """The next user's number."""
        self._joined += 1
        return self._joined - 1

    def ready(self) -> None:
        """A user is ready, or has given up."""
        self._ready += 1
        if self._ready == self.users:
            self._all_ready.set()

    def leave(self) -> None:
        """A user is done."""
        self._left += 1
        if self._left == self.users:
            self._all_left.set()

    def gather(self, start_users: Callable[[], None]) -> None:
        """Start users and wait until all are ready.

        Raises:
            Refused: Not all users got ready.
        """
        start_users()
        if not self._all_ready.wait(self.ready_s):
            errors = ", ".join(f"{count} {kind}" for kind, count in self.verification.errors.items())
            raise Refused(
                f"{self._ready} of {self.users} users got ready within {self.ready_s:g} s: "
                f"{self._joined} had started, {self.opened} had begun to connect; errors: {errors or 'none'}",
                kind="not-ready",
            )
        if self.settle_s:
            gevent.sleep(self.settle_s)

    def hold(self, at_ns: int = 0) -> dict[str, Any]:
        """Open the window, at an instant or now, and wait for the last user.

        Returns:
            What goes into the answer: `started_ns`, `ended_ns`, `cpu_ns` (process, from the window's
            opening to the last user's end), `lag_p99_ns`.
        """
        lag = Lag()
        gc.disable()
        if at_ns:
            gevent.sleep(max(0.0, (at_ns - monotonic_ns()) / NS_PER_S))
        cpu_ns = time.process_time_ns()
        self.started_ns = monotonic_ns()
        self.ended_ns = self.started_ns + int(self.seconds * NS_PER_S)
        watching = gevent.spawn(lag.watch, self.started_ns, self.ended_ns)
        self.window.set()
        self.wait()
        cpu_ns = time.process_time_ns() - cpu_ns
        gc.enable()
        watching.kill()
        return {
            "started_ns": self.started_ns,
            "ended_ns": self.ended_ns,
            "cpu_ns": cpu_ns,
            "lag_p99_ns": lag.p99_ns(),
        }


class Lag:
    """How late this process notices an instant: what its own queue adds to every time it takes."""

    def __init__(self) -> None:
        self._lags: list[int] = []

    def watch(self, start_ns: int, end_ns: int) -> None:
        """Look every `LAG_INTERVAL_NS` until the end."""
        hub: Any = gevent.get_hub()
        timer = Timer()
        watcher = hub.loop.io(timer.fd, 1)
        try:
            for instant_ns in range(start_ns + LAG_INTERVAL_NS, end_ns, LAG_INTERVAL_NS):
                timer.arm(instant_ns)
                hub.wait(watcher)
                self._lags.append(monotonic_ns() - instant_ns)
        finally:
            watcher.stop()
            watcher.close()
            timer.close()

    def p99_ns(self) -> int | None:
        """The lag that 99 of 100 looks stayed below; None with no look at all."""
        ordered = sorted(self._lags)
        return ordered[math.ceil(0.99 * len(ordered)) - 1] if ordered else None
