"""Requests at an even pace on one live connection per lane, from the probe's quiet process.

Beside a load or alone. An open loop: each request leaves when it is due, whether or not the ones before were
answered (HTTP/1.1 pipelining), so that a path whose queue is longer than the pace is seen as it is. Lanes run
at once, each at the whole pace, their instants shifted by equal parts of it.
"""

from __future__ import annotations

import select
import socket
import time
from array import array
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from time import monotonic_ns
from typing import Any

from harness.control import Refused, Reply
from harness.load import wire
from harness.load.arrivals import LATE_NS, NS_PER_S, instants
from harness.load.blocking import connected, finish
from harness.load.clock import quantile_99
from harness.load.lane import Lane, Turn, lanes, reading
from harness.load.records import LANE, REQUEST_FIELDS
from harness.plan.model import Arrivals

TIMEOUT_S = 5.0
"""How long an answer is awaited."""
READ_BYTES = 64 * 1024


def paced(request: dict[str, Any]) -> Reply:
    """Op `paced`: rows as in `records.REQUEST_FIELDS`, of user 0."""
    with reading(request), ExitStack() as undo:
        seconds, rate_hz = float(request["seconds"]), float(request["rate_hz"])
        if seconds <= 0 or rate_hz <= 0:
            raise Refused(f"seconds {seconds}, rate_hz {rate_hz}: expected > 0", kind="bad-request")
        due = instants(Arrivals.CONSTANT, rate_hz=rate_hz, seconds=seconds, seed="")
        paces = [Pace(lane, int(request["response_bytes"]), len(due)) for lane in lanes(request)]
        for pace in paces:
            pace.open(undo)
        cpu_ns = time.process_time_ns()
        started_ns = monotonic_ns()
        shift_ns = NS_PER_S / rate_hz / len(paces)
        lags = _keep(
            sorted(
                (started_ns + instant_ns + int(place * shift_ns), place)
                for place, pace in enumerate(paces)
                for instant_ns in due
                if pace.sound
            ),
            paces,
        )
        cpu_ns = (time.process_time_ns() - cpu_ns) // len(paces)
        ended_ns = max(monotonic_ns(), started_ns + int(seconds * NS_PER_S))
    document = {
        "lanes": {str(pace.lane.number): pace.document() | {"cpu_ns": cpu_ns} for pace in paces},
        "fields": (LANE, *REQUEST_FIELDS),
        "lag_p99_ns": quantile_99(lags),
        "together": len(paces) > 1,
        "turns": [Turn(pace.lane.number, started_ns, ended_ns, pace.sound) for pace in paces],
    }
    return Reply(document=document, payload=b"".join(pace.rows.tobytes() for pace in paces))


def _keep(waiting: list[tuple[int, int]], paces: list[Pace]) -> list[int]:
    """Send each request when it is due, take answers as they come; how late instants were noticed when idle.

    A lane whose answers are wrong, or fail to come, sends no more.
    """
    due, lags = deque(waiting), []
    while due or any(pace.asked for pace in paces):
        patience_s = max(0, due[0][0] - monotonic_ns()) / NS_PER_S if due else TIMEOUT_S
        readable, _, _ = select.select([pace for pace in paces if pace.sound], [], [], patience_s)
        for pace in readable:
            pace.take()
        if not (readable or due):
            for pace in paces:
                pace.give_up()
        if due and (now := monotonic_ns()) >= due[0][0]:
            intended_ns, place = due.popleft()
            if not readable:
                lags.append(now - intended_ns)
            paces[place].send(intended_ns)
    return lags


class Pace:
    """One lane's connection, its requests and answers, in order and in their own time."""

    def __init__(self, lane: Lane, response_bytes: int, scheduled: int) -> None:
        self.lane = lane
        self.rows = array("q")
        self.asked: deque[tuple[int, int, bytes]] = deque()
        self.sound = False
        """Whether the connection is open and every answer was right."""
        self._connection: socket.socket | None = None
        self._scheduled = scheduled
        self._opened = self._late = self._sent = 0
        self._said = wire.Verification()
        self._exchange = wire.Exchange(lane.target, lane.source, response_bytes, self._said)
        self._port = 0
        self._prefix = wire.nonces()
        self._inbox = bytearray()
        self._first_ns = 0
        self._size = 0

    def fileno(self) -> int:
        """Of the connection, for select."""
        return -1 if self._connection is None else self._connection.fileno()

    def open(self, undo: ExitStack) -> None:
        """Connect, and learn the answer's shape from one exchange that leaves no row."""
        supply = undo.enter_context(self.lane.supply())
        supply.stock(1)
        self._opened = 1
        with self._counting():
            self._connection = connection = undo.enter_context(connected(self.lane, supply))
            self._port = connection.getsockname()[1]
            nonce = b"%s%08x" % (self._prefix, 0)
            connection.sendall(self._exchange.request(nonce))
            read = connection.recv_into
            size = self._exchange.complete(read, read(self._exchange.buffer))
            if not self._exchange.judge(size, nonce):
                raise wire.BadAnswer("wrong-answer")
            self._size = size
            undo.callback(self._close, connection)

    def send(self, intended_ns: int) -> None:
        """Send the request that was due then."""
        if not self.sound or self._connection is None:
            return
        self._sent += 1
        nonce = b"%s%08x" % (self._prefix, self._sent)
        start_ns = monotonic_ns()
        self._late += start_ns - intended_ns > LATE_NS
        with self._counting():
            self._connection.sendall(self._exchange.request(nonce))
            self.asked.append((intended_ns, start_ns, nonce))

    def take(self) -> None:
        """Read what is there; one row for each answer that is whole now."""
        if self._connection is None:
            return
        with self._counting():
            more = self._connection.recv(READ_BYTES)
            now, size = monotonic_ns(), self._size
            if not more:
                raise wire.BadAnswer("closed")
            self._first_ns = self._first_ns if self._inbox else now
            self._inbox += more
            while len(self._inbox) >= size:
                if not self.asked:
                    raise wire.BadAnswer("unasked")
                intended_ns, start_ns, nonce = self.asked.popleft()
                self._exchange.buffer[:size] = self._inbox[:size]
                del self._inbox[:size]
                right = self._exchange.judge(size, nonce)
                times = (intended_ns, start_ns, self._first_ns, now)
                self.rows.extend((self.lane.number, 0, *times, size, self._port, right))
                self._first_ns = now

    def give_up(self) -> None:
        """No answer came within `TIMEOUT_S`: what was asked is unanswered."""
        if self.asked:
            with self._counting():
                raise wire.BadAnswer("timeout")

    def document(self) -> dict[str, Any]:
        """What is told of this lane."""
        self._exchange.end()
        return {
            "rows": len(self.rows) // (1 + len(REQUEST_FIELDS)),
            "opened": self._opened,
            "scheduled": self._scheduled,
            "late": self._late,
            "unsent": self._scheduled - self._sent,
            **self._said.document(),
        }

    @contextmanager
    def _counting(self) -> Iterator[None]:
        """Count what goes wrong; the connection is of no use then."""
        self.sound = False
        with self._said.counting():
            yield
            self.sound = True
        if not self.sound:
            self.asked.clear()

    def _close(self, connection: socket.socket) -> None:
        if self.sound:
            finish(connection, self._said)
