"""Requests on live connections: back to back, or at a fixed rate with the intended times kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any, Generic, TypeVar

import gevent
from gevent import GreenletExit

from harness.control import Refused
from harness.load import wire
from harness.load.arrivals import LATE_NS, instants
from harness.load.clock import Timer
from harness.load.lane import Lane, Turn
from harness.load.live import READ
from harness.load.records import REQUEST_FIELDS
from harness.load.stage import LaneLoad, Recorder, Stage, Tally
from harness.plan.model import Arrivals

ROWS_PER_S = 200_000
"""Room that is made for a closed loop: three times what one process reached here."""
OPEN_BLOCK_MS = 50.0
"""Block of an open loop. Lanes take turns here too: at once, each met the load of all. Noise of a round of
equal lanes at 400/s, on a busy machine: 30 % at once, 30 in blocks of 12 ms, 23 of 25, 7.3 of 50."""
PATIENCE_NS = 25_000_000
"""After an open loop's block: a generator that is a little late must not lose what was due at its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which users of a load that several workers share are this one's: `first` and those after it."""

    first: int
    of: int
    """All users, of all workers."""


class RequestLoad(LaneLoad):
    """One lane's requests."""

    def __init__(self, lane: Lane, users: int) -> None:
        super().__init__(lane, users)
        self.instants: list[int] = []
        """Of an open loop, in the lane's own time: block after block, without what lies between."""
        self.due: list[int] = []
        """Those of the block that goes on, since it began."""
        self.patience_ns = 0
        """How long after its block's end a request that was due in it may still start."""
        self._spent_ns = 0
        self.late = 0
        self.scheduled = 0
        self.unsent = 0
        self.more: tuple[int, ...] = ()
        """What ends each row beyond the fields of a request."""

    def advance(self, block_ns: int) -> None:
        """Take the instants of the next block."""
        begin, self._spent_ns = self._spent_ns, self._spent_ns + block_ns
        self.due = [instant - begin for instant in self.instants if begin <= instant < self._spent_ns]

    def document(self) -> dict[str, Any]:
        """With the books of an open loop."""
        books = {"scheduled": self.scheduled, "late": self.late, "unsent": self.unsent}
        return {**super().document(), **books}


L = TypeVar("L", bound=RequestLoad)


class RequestStage(Stage[L], Generic[L]):
    """Op `requests`."""

    fields: tuple[str, ...] = REQUEST_FIELDS
    load: type[Any] = RequestLoad

    def __init__(self, request: dict[str, Any], recorder: Recorder) -> None:
        seconds, rate_hz = float(request["seconds"]), float(request.get("rate_hz", 0))
        users = int(request["connections"])
        if rate_hz < 0:
            raise Refused(f"rate_hz {rate_hz}: expected >= 0", kind="bad-request")
        # of a Poisson process, the number strays from its mean by some square roots of it
        mean = seconds * (rate_hz or ROWS_PER_S)
        rows = int(mean + 10 * math.sqrt(max(0, mean))) + 2 * max(0, users)
        self.response_bytes = int(request["response_bytes"])
        self.rate_hz = rate_hz
        self.share = Share(first=int(request.get("first", 0)), of=int(request.get("of", users)))
        self._arrivals = Arrivals(request.get("arrivals", Arrivals.CONSTANT))
        if rate_hz:
            request = {"block_ms": OPEN_BLOCK_MS, **request}
        super().__init__(request, recorder, users=users, seconds=seconds, rows=rows)
        if rate_hz:
            for load in self.lanes.values():
                load.patience_ns = PATIENCE_NS
                load.instants = instants(
                    self._arrivals, rate_hz=rate_hz, seconds=seconds, seed=f"{self.seed}/{load.number}"
                )

    def turn(self, numbers: Sequence[int], started_ns: int = 0) -> list[Turn]:
        """A block; of an open loop, with what is due in it."""
        if self.rate_hz:
            for number in numbers:
                self.lanes[number].advance(self.block_ns)
        return super().turn(numbers, started_ns)

    def record(self, load: L, user: int, *row: int) -> None:
        """One request's row, where its time is not so short that this call would matter in it."""
        start_ns, end_ns, size, ok = row[1], row[3], row[4], row[6]
        recorder, tally = self.recorder, load.tally
        recorder.pack(recorder.buffer, recorder.position, load.number, user, *row, *load.more)
        recorder.position += recorder.size
        tally.requests += 1
        if ok:
            tally.total_ns += end_ns - start_ns
            tally.bytes += size
        else:
            tally.failures += 1


class LiveConnection(Generic[L]):
    """One connection that sends one request at a time."""

    def __init__(self, stage: RequestStage[L]) -> None:
        self._stage = stage
        self._lane, self._user = stage.join()
        self._exchange = wire.Exchange(
            self._lane.target, self._lane.source, stage.response_bytes, self._lane.verification
        )
        self._socket = self._lane.socket()
        self._prefix = wire.nonces()
        self._sent = 0
        self._tally = Tally()
        self._broken = True

    @property
    def sound(self) -> bool:
        """Whether everything so far was right."""
        return not self._broken

    def open(self) -> None:
        """Connect and do one exchange that leaves no row; what goes wrong is counted."""
        said = self._lane.verification
        try:
            self._socket.connect(self._lane.target.address, self._lane.target.port)
            self._socket.watch()
            self._exchange_once()
        except OSError as exc:
            said.errors[wire.error_kind(exc)] += 1
        except wire.BadAnswer as exc:
            said.errors[exc.kind] += 1
        finally:
            self._socket.unwatch()
            self._stage.ready()

    def requests(self) -> Iterator[int]:
        """The intended times of this user's requests, each when it has come, in its lane's blocks.

        In a closed loop a request is intended when the one before it has been answered.
        """
        lane, due = self._lane, self._due if self._stage.rate_hz else None
        for _ in lane.blocks(self._user):
            if self._broken:
                return
            self._socket.watch()
            if due:
                yield from due()
            else:
                while not self._broken and (now := monotonic_ns()) < lane.ended_ns:
                    yield now
            self._socket.unwatch()

    def _due(self) -> Iterator[int]:
        """The block's requests that are due, each in its turn; one that is late starts as soon as it can."""
        lane, share = self._lane, self._stage.share
        due = lane.due[share.first + self._user :: share.of]
        lane.scheduled += len(due)
        hub: Any = gevent.get_hub()
        timer = Timer()
        watcher = hub.loop.io(timer.fd, READ)
        watcher.start(gevent.getcurrent().switch)
        sent = 0
        try:
            for instant_ns in due:
                intended_ns = lane.started_ns + instant_ns
                if monotonic_ns() < intended_ns:
                    timer.arm(intended_ns)
                    while monotonic_ns() < intended_ns:
                        self._socket.wait()
                    timer.clear()
                now = monotonic_ns()
                if self._broken or now >= lane.ended_ns + lane.patience_ns:
                    break
                lane.late += now - intended_ns > LATE_NS
                sent += 1
                yield intended_ns
        finally:
            lane.unsent += len(due) - sent
            watcher.stop()
            watcher.close()
            timer.close()

    def ask(self, intended_ns: int) -> None:
        """One request and its answer: one row, whatever came of it. A failure ends this connection."""
        stage, lane, recorder = self._stage, self._lane, self._stage.recorder
        start_ns = monotonic_ns() if stage.rate_hz else intended_ns
        first_ns = end_ns = size = 0
        self._tally.requests += 1
        try:
            first_ns, end_ns, size = self._exchange_once()
        except OSError as exc:
            lane.verification.errors[wire.error_kind(exc)] += 1
        except wire.BadAnswer as exc:
            lane.verification.errors[exc.kind] += 1
        except GreenletExit:  # the block is long over and nothing came
            lane.verification.errors["unanswered"] += 1
            raise
        finally:
            recorder.pack(
                recorder.buffer,
                recorder.position,
                lane.number,
                self._user,
                intended_ns,
                start_ns,
                first_ns,
                end_ns,
                size,
                self._socket.port,
                not self._broken,
                *lane.more,
            )
            recorder.position += recorder.size
            if self._broken:
                self._tally.failures += 1
            else:
                self._tally.total_ns += end_ns - start_ns
                self._tally.bytes += size

    def close(self) -> None:
        """In order where the connection is sound; else by RST."""
        try:
            self._socket.leave(self._lane.verification, broken=self._broken)
        finally:
            self._exchange.end()
            self._lane.tally.add(self._tally)
            self._lane.leave(self._user)

    def _exchange_once(self) -> tuple[int, int, int]:
        """Time of the first byte, of the last, length. The connection is broken unless all was right."""
        live, exchange = self._socket, self._exchange
        self._broken = True
        self._sent += 1
        nonce = b"%s%08x" % (self._prefix, self._sent)
        live.send(exchange.head + nonce + exchange.tail)
        live.wait()
        try:
            size = live.receive(exchange.buffer)
        except BlockingIOError:  # woken for something else, such as a timer that was late
            size = live.read(memoryview(exchange.buffer))
        first_ns = monotonic_ns()
        if size != exchange.total:
            size = exchange.complete(live.read, size)
        end_ns = monotonic_ns()
        self._broken = not exchange.judge(size, nonce)
        return first_ns, end_ns, size
