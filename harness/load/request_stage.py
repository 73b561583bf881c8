"""Requests on live connections: back to back, or at a fixed rate with the intended times kept."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

import gevent
from gevent import GreenletExit

from harness.control import Refused
from harness.load import wire
from harness.load.arrivals import LATE_NS, instants
from harness.load.clock import Timer
from harness.load.live import READ, LiveSocket
from harness.load.records import REQUEST_FIELDS
from harness.load.stage import Recorder, Stage, Tally
from harness.plan.model import Arrivals

ROWS_PER_S = 200_000
"""Room that is made for a closed loop: three times what one process reached here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Which users of a load that several workers share are this one's: `first` and those after it."""

    first: int
    of: int
    """All users, of all workers."""


class RequestStage(Stage):
    """Op `requests`."""

    fields: tuple[str, ...] = REQUEST_FIELDS
    more: tuple[int, ...] = ()
    """What ends each row beyond the fields of a request."""

    def __init__(self, request: dict[str, Any], recorder: Recorder) -> None:
        seconds, rate_hz = float(request["seconds"]), float(request.get("rate_hz", 0))
        users = int(request["connections"])
        if users < 1 or seconds <= 0 or rate_hz < 0:
            raise Refused(
                f"connections {users}, seconds {seconds}, rate_hz {rate_hz}: expected >= 1, > 0, >= 0",
                kind="bad-request",
            )
        # of a Poisson process, the number strays from its mean by some square roots of it
        mean = seconds * (rate_hz or ROWS_PER_S)
        rows = int(mean + 10 * math.sqrt(mean)) + 2 * users
        target = wire.Target(**request["target"])
        super().__init__(recorder, target=target, users=users, seconds=seconds, rows=rows)
        self.source = str(request["source"])
        self.response_bytes = int(request["response_bytes"])
        self.rate_hz = rate_hz
        self._share = Share(first=int(request.get("first", 0)), of=int(request.get("of", users)))
        self._arrivals = Arrivals(request.get("arrivals", Arrivals.CONSTANT))
        self.seed = str(request.get("seed", ""))
        self._due: list[int] | None = None
        self.late = 0
        self.scheduled = 0
        self.unsent = 0

    def record(self, *row: int) -> None:
        """One request's row, where its time is not so short that this call would matter in it."""
        start_ns, end_ns, size, ok = row[2], row[4], row[5], row[7]
        recorder, tally = self.recorder, self.tally
        recorder.pack(recorder.buffer, recorder.position, *row, *self.more)
        recorder.position += recorder.size
        tally.requests += 1
        tally.failures += not ok
        tally.total_ns += end_ns - start_ns if ok else 0
        tally.bytes += size

    def due(self, user: int) -> list[int]:
        """The instants, from the window's opening, at which a user's requests are due: users take turns."""
        if self._due is None:
            self._due = instants(self._arrivals, rate_hz=self.rate_hz, seconds=self.seconds, seed=self.seed)
        return self._due[self._share.first + user :: self._share.of]

    def document(self) -> dict[str, Any]:
        """What only this kind of stage tells; all 0 in a closed loop."""
        return {"scheduled": self.scheduled, "late": self.late, "unsent": self.unsent}


class LiveConnection:
    """A keep-alive connection and its user's books."""

    def __init__(self, stage: RequestStage) -> None:
        self._stage = stage
        self._user = stage.number()
        self._socket = LiveSocket(wire.family(stage.target.address))
        self._exchange = wire.Exchange(stage.target, stage.source, stage.response_bytes, stage.verification)
        self._prefix = wire.nonces()
        self._sent = 0
        self._tally = Tally()
        self._broken = True

    @property
    def sound(self) -> bool:
        """Whether everything so far was right."""
        return not self._broken

    def open(self) -> None:
        """Connect and do one exchange that leaves no row; then wait for the window."""
        self.connect()
        self._stage.ready()
        self._stage.window.wait()
        self.watch()

    def watch(self) -> None:
        """From now on an answer is noticed."""
        self._socket.watch()

    def connect(self) -> None:
        """Connect and do the exchange; what goes wrong is counted."""
        stage = self._stage
        try:
            stage.opened += 1
            self._socket.connect(stage.target.address, stage.target.port)
            self._socket.watch()
            self._exchange_once()
        except OSError as exc:
            stage.verification.errors[wire.error_kind(exc)] += 1
        except wire.BadAnswer as exc:
            stage.verification.errors[exc.kind] += 1
        finally:
            self._socket.unwatch()

    def turns(self) -> Iterator[int]:
        """The intended times of this user's requests, each when it has come; ends with the window.

        In a closed loop a request is intended when the one before it has been answered.
        """
        stage = self._stage
        if stage.rate_hz:
            yield from self._schedule()
        else:
            ended_ns = stage.ended_ns
            while not self._broken and (now := monotonic_ns()) < ended_ns:
                yield now

    def _schedule(self) -> Iterator[int]:
        """The requests that are due, each in its turn; one that is late starts as soon as it can."""
        stage = self._stage
        due = stage.due(self._user)
        stage.scheduled += len(due)
        hub: Any = gevent.get_hub()
        timer = Timer()
        watcher = hub.loop.io(timer.fd, READ)
        watcher.start(gevent.getcurrent().switch)
        sent = 0
        try:
            for instant_ns in due:
                intended_ns = stage.started_ns + instant_ns
                if monotonic_ns() < intended_ns:
                    timer.arm(intended_ns)
                    while monotonic_ns() < intended_ns:
                        self._socket.wait()
                    timer.clear()
                now = monotonic_ns()
                if self._broken or now >= stage.ended_ns:
                    break
                stage.late += now - intended_ns > LATE_NS
                sent += 1
                yield intended_ns
        finally:
            stage.unsent += len(due) - sent
            watcher.stop()
            watcher.close()
            timer.close()

    def ask(self, intended_ns: int) -> None:
        """One request and its answer: one row, whatever came of it. A failure ends this connection."""
        stage, recorder = self._stage, self._stage.recorder
        start_ns = monotonic_ns() if stage.rate_hz else intended_ns
        first_ns = end_ns = size = 0
        self._tally.requests += 1
        try:
            first_ns, end_ns, size = self._exchange_once()
        except OSError as exc:
            stage.verification.errors[wire.error_kind(exc)] += 1
        except wire.BadAnswer as exc:
            stage.verification.errors[exc.kind] += 1
        except GreenletExit:  # the window is long over and nothing came
            stage.verification.errors["unanswered"] += 1
            raise
        finally:
            recorder.pack(
                recorder.buffer,
                recorder.position,
                self._user,
                intended_ns,
                start_ns,
                first_ns,
                end_ns,
                size,
                self._socket.port,
                not self._broken,
                *stage.more,
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
            self._socket.leave(self._stage.verification, broken=self._broken)
        finally:
            self._exchange.end()
            self._stage.tally.add(self._tally)
            self._stage.leave()

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
