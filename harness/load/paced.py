"""Requests at an even pace on one live connection, from the probe's quiet process: beside a load or alone.

An answer that is late delays the next request, not its intended instant: latency counts from that.
"""

from __future__ import annotations

import socket
import time
from array import array
from time import monotonic_ns
from typing import Any

from harness.control import Refused, Reply
from harness.load import wire
from harness.load.arrivals import LATE_NS, NS_PER_S, instants
from harness.load.clock import sleep_until
from harness.load.records import REQUEST_FIELDS
from harness.plan.model import Arrivals

TIMEOUT_S = 5.0


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
    prefix, rows, late, lags = wire.nonces(), array("q"), 0, []
    cpu_ns, started_ns = time.process_time_ns(), monotonic_ns()
    try:
        with socket.create_connection((target.address, target.port), timeout=TIMEOUT_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            port = connection.getsockname()[1]
            _ask(connection, exchange, b"%s%08x" % (prefix, 0))
            cpu_ns, started_ns = time.process_time_ns(), monotonic_ns()
            ended_ns = started_ns + int(seconds * NS_PER_S)
            for turn, instant_ns in enumerate(due, start=1):
                intended_ns = started_ns + instant_ns
                if monotonic_ns() >= ended_ns:
                    break
                early = monotonic_ns() < intended_ns
                sleep_until(intended_ns)
                start_ns = monotonic_ns()
                if early:
                    lags.append(start_ns - intended_ns)
                late += start_ns - intended_ns > LATE_NS
                first_ns, end_ns, size, right = _ask(connection, exchange, b"%s%08x" % (prefix, turn))
                rows.extend((0, intended_ns, start_ns, first_ns, end_ns, size, port, right))
                if not right:
                    break
            connection.shutdown(socket.SHUT_WR)
            if connection.recv(1):
                said.errors["late-bytes"] += 1
    except OSError as exc:
        said.errors[wire.error_kind(exc)] += 1
    except wire.BadAnswer as exc:
        said.errors[exc.kind] += 1
    exchange.end()
    count = len(rows) // len(REQUEST_FIELDS)
    document = {
        "rows": count,
        "opened": 1,
        "scheduled": len(due),
        "late": late,
        "unsent": len(due) - count,
        "started_ns": started_ns,
        "ended_ns": max(monotonic_ns(), started_ns + int(seconds * NS_PER_S)),
        "cpu_ns": time.process_time_ns() - cpu_ns,
        "lag_p99_ns": sorted(lags)[-(-99 * len(lags) // 100) - 1] if lags else None,
        **said.document(),
    }
    return Reply(document=document, payload=rows.tobytes())


def _ask(connection: socket.socket, exchange: wire.Exchange, nonce: bytes) -> tuple[int, int, int, bool]:
    """Time of the first byte, of the last, length, and whether all was right."""
    connection.sendall(exchange.request(nonce))
    size = connection.recv_into(exchange.buffer)
    first_ns = monotonic_ns()
    if size != exchange.total:
        size = exchange.complete(connection.recv_into, size)
    end_ns = monotonic_ns()
    return first_ns, end_ns, size, exchange.judge(size, nonce)
