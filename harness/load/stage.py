"""Load on one or several lanes in turns: users join, all get ready, lanes have their blocks, all leave.

A turn is a block of milliseconds in which one lane's users work and all others' wait. It ends when nothing
of the lane is under way: every request answered, every byte that was sent arrived. A stage knows nothing of
Locust. A user class in suites/locustfiles names its stage's type, joins it with a participant, lets that work
through its lane's blocks, and leaves.
"""

from __future__ import annotations

import gc
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any, Generic, TypeVar

import gevent
from gevent.event import Event

from harness.control import Refused
from harness.load.clock import NS_PER_S, Timer, quantile_99
from harness.load.lane import Lane, Turn, lanes
from harness.load.live import LiveSocket
from harness.load.order import cycles, whole_designs
from harness.load.records import LANE
from harness.load.wire import Verification

READY_S = 10.0
"""How long all users together may take to connect and warm up."""
GRACE_S = 1.0
"""How long after a block's end what is under way is awaited before it counts as unanswered."""
LEAVE_S = 2.0
"""How long all users together may take to close."""
BLOCK_MS = 12.0
"""Length of a block. Noise of a round of equal lanes, requests/s on 8 connections: on a quiet machine 1.9 %
at 3 ms, 2.1 at 6, 2.5 at 12, 3.4 at 28, 4.5 at 60; beside eight busy processes on two cores 7.0, 6.0, 4.0,
8.4 (at 25) and 7.7 (at 50), 27 in one block each. Shorter blocks spend more on draining."""
SETTLE_MS = 0.0
"""What the first moments of a block leave out of throughput: nothing was gained by it."""
LAG_INTERVAL_NS = 5_000_000
"""Pace of the lag probe: 200 looks a second cost about 0.5 % of a core."""
NS_PER_MS = 1_000_000


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
        self.fields = tuple(fields)
        self.pack = layout.pack_into
        self.size = layout.size
        self.position = 0
        if len(self.buffer) < capacity * self.size:
            self.buffer = bytearray(capacity * self.size)

    @property
    def rows(self) -> int:
        """Rows so far."""
        return self.position // self.size

    def column(self, name: str, first: int = 0) -> list[int]:
        """One field of all rows from `first` on."""
        used = memoryview(self.buffer)[first * self.size : self.position].cast("q")
        return used[self.fields.index(name) :: self.size // 8].tolist()

    def fill(self, name: str, first: int, value: int) -> None:
        """Set one field of all rows from `first` on."""
        used, width = memoryview(self.buffer)[: self.position].cast("q"), self.size // 8
        for at in range(first * width + self.fields.index(name), len(used), width):
            used[at] = value

    def payload(self) -> bytes:
        """All rows."""
        return bytes(memoryview(self.buffer)[: self.position])


class LaneLoad:
    """One lane's part of a stage: its users' gate, and what they counted."""

    def __init__(self, lane: Lane, users: int) -> None:
        self.lane = lane
        self.number = lane.number
        self.target, self.source = lane.target, lane.source
        self.supply = lane.supply()
        self.users = users
        self.opened = 0
        """Connections opened."""
        self.verification = Verification()
        self.tally = Tally()
        self.started_ns = 0
        """When the block that goes on was opened, or the last one."""
        self.ended_ns = 0
        """When it ends, or ended: nothing begins from then on."""
        self.over = False
        """Whether there will be no further block."""
        self.cpu_ns = 0
        """CPU time of this process in the lane's turns."""
        self.joined = 0
        self.hungry = 0
        """Sockets that a block may need."""
        self._gate = Event()
        self._opened_blocks = 0
        self._working: dict[int, gevent.Greenlet | None] = {}
        """Who has something under way; each user says which greenlet it is as it begins."""
        self._present: set[int] = set()
        self._drained = Event()

    def join(self) -> int:
        """The next user's number."""
        user = self.joined
        self.joined += 1
        self._present.add(user)
        return user

    def socket(self) -> LiveSocket:
        """A new socket in the client pod's namespace; `opened` counts it."""
        self.opened += 1
        return LiveSocket(self.supply.take(), self.lane.family)

    def blocks(self, user: int) -> Iterator[None]:
        """Each block of the lane, as its user sees it; who asks for the next is done with the last."""
        known = 0
        while True:
            while self._opened_blocks == known and not self.over:
                self._gate.wait()
            if self.over:
                return
            known = self._opened_blocks
            self._working[user] = gevent.getcurrent()
            yield
            self._done(user)

    def leave(self, user: int) -> None:
        """A user is gone."""
        self._present.discard(user)
        self._done(user)

    def stock(self) -> None:
        """Fetch the sockets that a block may need, before it begins."""
        self.hungry = max(self.hungry, 2 * self.supply.taken)
        self.supply.taken = 0
        self.supply.stock(self.hungry)

    def open(self, started_ns: int, ended_ns: int) -> None:
        """Let the users work from now on until `ended_ns`."""
        self.started_ns, self.ended_ns = started_ns, ended_ns
        self._drained.clear()
        self._working = dict.fromkeys(self._present)
        self._opened_blocks += 1
        gate, self._gate = self._gate, Event()
        if not self._present:
            self._drained.set()
        gate.set()

    def drained(self, patience_s: float) -> bool:
        """Wait until no user has anything under way; one who does not end is stopped, for good."""
        if self._drained.wait(max(0.0, patience_s)):
            return True
        gevent.killall([greenlet for greenlet in self._working.values() if greenlet], timeout=LEAVE_S)
        return False

    def end(self) -> None:
        """Let the users leave."""
        self.over = True
        self._gate.set()

    @property
    def left(self) -> bool:
        """Whether all users are gone."""
        return not self._present

    def document(self) -> dict[str, Any]:
        """What is told of this lane beside its turns."""
        return {
            "opened": self.opened,
            "cpu_ns": self.cpu_ns,
            "late_sockets": self.supply.late,
            **self.verification.document(),
        }

    def _done(self, user: int) -> None:
        if self._working.pop(user, self) is not self and not self._working:
            self._drained.set()


L = TypeVar("L", bound=LaneLoad)


class Stage(Generic[L]):
    """The lanes, their turns, and what happened in them. `seconds` is each lane's own time."""

    fields: tuple[str, ...]
    """Of a row, after the lane."""
    load: type[L]
    """What a lane's part is."""
    ready_s = READY_S
    """How long all users together may take to connect and warm up."""
    grace_s = GRACE_S
    """How long after a block's end what is under way is awaited."""
    block_ms = BLOCK_MS
    """Length of a block where the request does not say."""

    def __init__(
        self, request: dict[str, Any], recorder: Recorder, *, users: int, seconds: float, rows: int
    ) -> None:
        """Take a request; `users` and `rows` (room for so many) are each lane's."""
        block_ms = float(request.get("block_ms", self.block_ms))
        settle_ms = float(request.get("settle_ms", SETTLE_MS))
        if users < 1 or seconds <= 0 or block_ms <= 0:
            raise Refused(
                f"users {users}, seconds {seconds}, block_ms {block_ms}: expected >= 1, > 0, > 0",
                kind="bad-request",
            )
        self.seed = str(request["seed"])
        self.users = users
        self.seconds = seconds
        self.settle_ns = int(settle_ms * NS_PER_MS)
        self.recorder = recorder
        asked = lanes(request)
        self.cycles = whole_designs(len(asked), max(1, round(seconds * 1000 / block_ms)))
        self.block_ns = int(seconds * NS_PER_S / self.cycles)
        self.lanes = {lane.number: self.load(lane, users) for lane in asked}
        self.taken: list[Turn] = []
        self._together = False
        self._joined = 0
        self._ready = 0
        self._all_ready = Event()
        self._lag = Lag()
        recorder.begin((LANE, *self.fields), rows * len(asked))

    # What users do

    def join(self) -> tuple[L, int]:
        """The lane of the next user, and its number there."""
        numbers = list(self.lanes)
        lane = self.lanes[numbers[self._joined % len(numbers)]]
        self._joined += 1
        return lane, lane.join()

    def ready(self) -> None:
        """A user is ready, or has given up."""
        self._ready += 1
        if self._ready == self.users * len(self.lanes):
            self._all_ready.set()

    # What the driver does

    def gather(self, start_users: Callable[[], None]) -> None:
        """Start users and wait until all are ready.

        Raises:
            Refused: Not all users got ready.
        """
        for lane in self.lanes.values():
            lane.supply.stock(lane.users)
        start_users()
        if self._all_ready.wait(self.ready_s):
            for lane in self.lanes.values():
                lane.supply.taken = 0
            gc.disable()
            self._lag.watch()
            return
        loads = self.lanes.values()
        errors = ", ".join(
            f"{count} {kind}" for load in loads for kind, count in load.verification.errors.items()
        )
        opened = sum(load.opened for load in loads)
        raise Refused(
            f"{self._ready} of {self.users * len(self.lanes)} users got ready within {self.ready_s:g} s: "
            f"{self._joined} had started, {opened} had begun to connect; errors: {errors or 'none'}",
            kind="not-ready",
        )

    def turns(self) -> Iterator[tuple[int, ...]]:
        """The lanes of each turn, in order: one, or several at once where a stage measures them together."""
        for cycle in cycles(list(self.lanes), self.seed, self.cycles):
            for number in cycle:
                yield (number,)

    def turn(self, numbers: Sequence[int], started_ns: int = 0) -> list[Turn]:
        """Let these lanes have their block, which begins now; returns when they are drained."""
        loads = [self.lanes[number] for number in numbers]
        for load in loads:
            load.stock()
        cpu_ns = time.process_time_ns()
        started_ns = started_ns or monotonic_ns()
        ended_ns = started_ns + self.block_ns
        for load in loads:
            load.open(started_ns, ended_ns)
        turns = []
        for load in loads:
            drained = load.drained((ended_ns - monotonic_ns()) / NS_PER_S + self.grace_s)
            turns.append(Turn(load.number, started_ns, monotonic_ns(), drained))
        cpu_ns = time.process_time_ns() - cpu_ns
        for load in loads:
            load.cpu_ns += cpu_ns // len(loads)
        self.taken += turns
        self._together |= len(loads) > 1
        return turns

    def finish(self) -> None:
        """Let all users leave, and wait for the last."""
        for lane in self.lanes.values():
            lane.end()
        with gevent.Timeout(LEAVE_S, exception=False):
            while not all(lane.left for lane in self.lanes.values()):
                gevent.sleep(0.001)
        self.close()

    def close(self) -> None:
        """Give back what is held: the sockets that nobody took."""
        gc.enable()
        self._lag.end()
        for lane in self.lanes.values():
            lane.supply.close()

    def document(self) -> dict[str, Any]:
        """What is told: `lanes` by number, the process's lag, and the turns."""
        counts = self.recorder.column(LANE)
        told = {
            str(number): {"rows": counts.count(number), **lane.document()}
            for number, lane in self.lanes.items()
        }
        return {
            "lanes": told,
            "fields": self.recorder.fields,
            "lag_p99_ns": self._lag.p99_ns(),
            "settle_ns": self.settle_ns,
            "together": self._together,
            "turns": self.taken,
        }


class Lag:
    """How late this process notices an instant: what its own queue adds to every time it takes."""

    def __init__(self) -> None:
        self._lags: list[int] = []
        self._watching: gevent.Greenlet | None = None

    def watch(self) -> None:
        """Look every `LAG_INTERVAL_NS` until `end`."""
        self._watching = gevent.spawn(self._watch)

    def end(self) -> None:
        """Look no more."""
        if self._watching is not None:
            self._watching.kill()

    def _watch(self) -> None:
        hub: Any = gevent.get_hub()
        timer = Timer()
        watcher = hub.loop.io(timer.fd, 1)
        try:
            while True:
                instant_ns = monotonic_ns() + LAG_INTERVAL_NS
                timer.arm(instant_ns)
                hub.wait(watcher)
                self._lags.append(monotonic_ns() - instant_ns)
        finally:
            watcher.stop()
            watcher.close()
            timer.close()

    def p99_ns(self) -> int | None:
        """The lag that 99 of 100 looks stayed below; None with no look at all."""
        return quantile_99(self._lags)
