"""Round trips of one small message on one live connection, back to back: the echo returns each.

A blocking socket in the probe's quiet process, as for first packets: through gevent a wait costs more
than the trip.
"""

from __future__ import annotations

import os
import socket
import time
from array import array
from time import monotonic_ns
from typing import Any

from harness.control import Refused, Reply
from harness.load import wire
from harness.load.clock import NS_PER_S

ROOM_PER_S = 100_000
"""Rows that are kept ready: a round trip over loopback takes 15 us at best."""
WARM_UP = 20
"""Round trips that leave no row."""
TIMEOUT_S = 5.0


def pingpong(request: dict[str, Any]) -> Reply:
    """Op `rtt`: rows as in `records.RTT_FIELDS`."""
    try:
        target, message = wire.Target(**request["target"]), os.urandom(int(request["message_bytes"]))
        seconds = float(request["seconds"])
    except (KeyError, TypeError, ValueError) as exc:
        raise Refused(f"cell {request.get('cell')}: bad request: {exc!r}", kind="bad-request") from exc
    said = wire.Verification()
    rows = array("q")
    cpu_ns = time.process_time_ns()
    started_ns = ended_ns = monotonic_ns()
    try:
        with socket.create_connection((target.address, target.port), timeout=TIMEOUT_S) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            port = connection.getsockname()[1]
            for _ in range(WARM_UP):
                _trip(connection, message, said)
            started_ns = monotonic_ns()
            ended_ns = started_ns + int(seconds * NS_PER_S)
            room = int(seconds * ROOM_PER_S)
            while room and monotonic_ns() < ended_ns:
                begin_ns = monotonic_ns()
                right = _trip(connection, message, said)
                rows.extend((begin_ns, monotonic_ns(), port, right))
                room -= 1
                if not right:
                    break
            connection.shutdown(socket.SHUT_WR)
            if connection.recv(1):
                said.errors["late-bytes"] += 1
    except OSError as exc:
        said.errors[wire.error_kind(exc)] += 1
    document = {
        "rows": len(rows) // 4,
        "opened": 1,
        "started_ns": started_ns,
        "ended_ns": ended_ns,
        "cpu_ns": time.process_time_ns() - cpu_ns,
        **said.document(),
    }
    return Reply(document=document, payload=rows.tobytes())


def _trip(connection: socket.socket, message: bytes, said: wire.Verification) -> bool:
    """One message there and back; whether it is the same."""
    connection.sendall(message)
    answer = connection.recv(len(message))
    while 0 < len(answer) < len(message):
        part = connection.recv(len(message) - len(answer))
        if not part:
            break
        answer += part
    said.checked += 1
    said.wrong_bytes += answer != message
    return answer == message
