"""Requests at an even pace on one live connection, from the probe's quiet process: beside a load or alone.

An open loop: each request leaves when it is due, whether or not the ones before were answered (HTTP/1.1
pipelining), so that a path whose queue is longer than the pace is seen as it is.
"""

from __future__ import annotations

import select
import socket
import time
from array import array
from collections import deque
from time import monotonic_ns
from typing import Any

from harness.control import Refused, Reply
from harness.load import wire
from harness.load.arrivals import LATE_NS, NS_PER_S, instants
from harness.load.records import REQUEST_FIELDS
from harness.plan.model import Arrivals

TIMEOUT_S = 5.0
"""How long an answer is awaited."""
READ_BYTES = 64 * 1024


def paced(request: dict[str, Any]) -> Reply:
    """Op `paced`: rows as in `records.REQUEST_FIELDS`, of user 0."""
    try:
        target = wire.Target(**request["target"])
        seconds, rate_hz = float(request["seconds"]), float(request["rate_hz"])
        due = instants(Arrivals.CONSTANT, rate_hz=rate_hz, seconds=seconds, seed="")
        said = wire.Verification()
        exchange = wire.Exchange(target, str(request["source"]), int(request["response_bytes"]), said)
    except (KeyError, TypeError, ValueError, ZeroDivisionError) as exc:
        raise Refused(f"cell {request.get('cell')}: bad request: {exc!r}", kind="bad-request") from exc
    began_ns = monotonic_ns()
    pace = None
    try:
        with socket.create_connection((target.address, target.port), timeout=TIMEOUT_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            pace = Pace(connection, exchange)
            pace.keep(due)
            connection.shutdown(socket.SHUT_WR)
            if connection.recv(1):
                said.errors["late-bytes"] += 1
    except OSError as exc:
        said.errors[wire.error_kind(exc)] += 1
    except wire.BadAnswer as exc:
        said.errors[exc.kind] += 1
    exchange.end()
    rows = pace.rows if pace else array("q")
    count = len(rows) // len(REQUEST_FIELDS)
    started_ns = pace.started_ns if pace else began_ns
    document = {
        "rows": count,
        "opened": 1,
        "scheduled": len(due),
        "late": pace.late if pace else 0,
        "unsent": len(due) - (pace.sent if pace else 0),
        "started_ns": started_ns,
        "ended_ns": max(monotonic_ns(), started_ns + int(seconds * NS_PER_S)),
        "cpu_ns": pace.cpu_ns() if pace else 0,
        "lag_p99_ns": pace.lag_p99_ns() if pace else None,
        **said.document(),
    }
    return Reply(document=document, payload=rows.tobytes())


class Pace:
    """One connection's requests and answers, in order and in their own time."""

    def __init__(self, connection: socket.socket, exchange: wire.Exchange) -> None:
        """Take a connection, and learn the answer's shape from one exchange that leaves no row."""
        self.rows = array("q")
        self.started_ns = 0
        self.late = 0
        self.sent = 0
        self._connection = connection
        self._exchange = exchange
        self._port = connection.getsockname()[1]
        self._prefix = wire.nonces()
        self._lags: list[int] = []
        self._asked: deque[tuple[int, int, bytes]] = deque()
        self._inbox = bytearray()
        self._first_ns = 0
        nonce = self._nonce()
        connection.sendall(exchange.request(nonce))
        size = exchange.complete(connection.recv_into, connection.recv_into(exchange.buffer))
        if not exchange.judge(size, nonce):
            raise wire.BadAnswer("wrong-answer")
        self._size = size
        self.sent = 0
        self._cpu_ns = time.process_time_ns()

    def keep(self, due: list[int]) -> None:
        """Send each request when it is due, take answers as they come; ends with the last answer.

        Raises:
            TimeoutError: No answer came for `TIMEOUT_S`.
            BadAnswer: One that came is not of the backend's form, or the connection ended.
        """
        self.started_ns = monotonic_ns()
        waiting = deque(self.started_ns + instant_ns for instant_ns in due)
        while waiting or self._asked:
            patience_s = TIMEOUT_S if not waiting else max(0, waiting[0] - monotonic_ns()) / NS_PER_S
            readable, _, _ = select.select([self._connection], [], [], patience_s)
            if readable:
                self._take()
            elif not waiting:
                raise TimeoutError(f"no answer within {TIMEOUT_S} s")
            if waiting and (now := monotonic_ns()) >= waiting[0]:
                if not readable:
                    self._lags.append(now - waiting[0])
                self._send(waiting.popleft())

    def cpu_ns(self) -> int:
        """CPU time of this process since the pace began."""
        return time.process_time_ns() - self._cpu_ns

    def lag_p99_ns(self) -> int | None:
        """How late an instant was noticed where nothing else was to do, 99th percentile."""
        ordered = sorted(self._lags)
        return ordered[-(-99 * len(ordered) // 100) - 1] if ordered else None

    def _nonce(self) -> bytes:
        self.sent += 1
        return b"%s%08x" % (self._prefix, self.sent)

    def _send(self, intended_ns: int) -> None:
        nonce = self._nonce()
        start_ns = monotonic_ns()
        self.late += start_ns - intended_ns > LATE_NS
        self._connection.sendall(self._exchange.request(nonce))
        self._asked.append((intended_ns, start_ns, nonce))

    def _take(self) -> None:
        """Read what is there; one row for each answer that is whole now."""
        more = self._connection.recv(READ_BYTES)
        now, size = monotonic_ns(), self._size
        if not more:
            raise wire.BadAnswer("closed")
        self._first_ns = self._first_ns if self._inbox else now
        self._inbox += more
        while len(self._inbox) >= size:
            if not self._asked:
                raise wire.BadAnswer("unasked")
            intended_ns, start_ns, nonce = self._asked.popleft()
            self._exchange.buffer[:size] = self._inbox[:size]
            del self._inbox[:size]
            right = self._exchange.judge(size, nonce)
            self.rows.extend((0, intended_ns, start_ns, self._first_ns, now, size, self._port, right))
            self._first_ns = now
