"""Later packets: one live connection per lane, requests back to back, one of each lane in turns.

A request is a small message that the echo returns, or an HTTP request whose answer is verified. Lanes have
equally many, for only whole designs are made. Each row is a turn: nothing is under way between two.
"""

from __future__ import annotations

import os
import socket
import time
from array import array
from collections.abc import Callable
from contextlib import ExitStack
from itertools import chain
from time import monotonic_ns
from typing import Any

from harness.control import Reply
from harness.load import wire
from harness.load.blocking import Waiting, connected, finish
from harness.load.clock import NS_PER_S
from harness.load.lane import Lane, lanes, reading
from harness.load.order import cycles, design_length
from harness.load.records import LANE, RTT_FIELDS

ROOM_PER_S = 100_000
"""Rows that are made at most: a round trip over loopback takes 15 us at best."""
WARM_UP = 20
"""Requests of each lane that leave no row."""
DESIGNS = 64
"""Orders drawn ahead, which then come again: drawing one takes as long as a request."""


class Live:
    """One lane's live connection; `once` makes a request and says whether the answer was right."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.said = wire.Verification()
        self.opened = 0
        self.port = 0
        self.sound = False
        """Whether it was opened and warmed up."""
        self.cpu_ns = 0
        self.once: Callable[[], bool] = lambda: False
        self.end: Callable[[], None] = lambda: None
        """Counts what was not counted on the way."""

    def open(self, request: dict[str, Any], undo: ExitStack) -> None:
        """Connect, and warm up; errors are counted, and then the lane has no turn."""
        supply = undo.enter_context(self.lane.supply())
        supply.stock(1)
        self.opened = 1
        with self.said.counting():
            connection = undo.enter_context(connected(self.lane, supply))
            self.port = connection.getsockname()[1]
            if "message_bytes" in request:
                self.once = _echo(connection, int(request["message_bytes"]), self.said)
            else:
                size = int(request["response_bytes"])
                exchange = wire.Exchange(self.lane.target, self.lane.source, size, self.said)
                self.once, self.end = _http(connection, exchange), exchange.end
            self.sound = all(self.ask() for _ in range(WARM_UP))
            if self.sound:
                undo.callback(finish, connection, self.said)

    def ask(self) -> bool:
        """One request; what goes wrong is counted."""
        try:
            return self.once()
        except OSError as exc:
            self.said.errors[wire.error_kind(exc)] += 1
        except wire.BadAnswer as exc:
            self.said.errors[exc.kind] += 1
        return False

    def document(self) -> dict[str, Any]:
        """What is told of this lane."""
        self.end()
        return {
            "opened": self.opened,
            "cpu_ns": self.cpu_ns,
            **self.said.document(),
        }


def later(request: dict[str, Any]) -> Reply:
    """Op `later`: rows as in `records.RTT_FIELDS`; `seconds` is each lane's share of the whole time."""
    with reading(request), ExitStack() as undo:
        lives = [Live(lane) for lane in lanes(request)]
        window_ns = int(float(request["seconds"]) * NS_PER_S) * len(lives)
        room = int(float(request["seconds"]) * ROOM_PER_S) * len(lives)
        seed = str(request["seed"])
        for live in lives:
            live.open(request, undo)
        waiting = Waiting()
        waited_ns = -waiting.total_ns()
        rows = _in_turns([live for live in lives if live.sound], seed, window_ns, room)
        waited_ns += waiting.total_ns()
    numbers = rows[:: 1 + len(RTT_FIELDS)]
    document = {
        "lanes": {
            str(live.lane.number): {"rows": numbers.count(live.lane.number), **live.document()}
            for live in lives
        },
        "fields": (LANE, *RTT_FIELDS),
        "waited_ns": waited_ns,
        "together": False,
        "turns": "rows",
    }
    return Reply(document=document, payload=rows.tobytes())


def _in_turns(lives: list[Live], seed: str, window_ns: int, room: int) -> array[int]:
    """Designs of requests until the time is over; a lane's first failure is its last request."""
    by_number = {live.lane.number: live for live in lives}
    rows = array("q")
    if not lives:
        return rows
    length = design_length(len(lives))
    drawn = list(chain.from_iterable(cycles(list(by_number), seed, DESIGNS * length)))
    design = length * len(lives)
    ended_ns = monotonic_ns() + window_ns
    at = 0
    while room >= design and by_number and monotonic_ns() < ended_ns:
        for number in drawn[at : at + design]:
            live = by_number.get(number)
            if live is None:
                continue
            cpu_ns = time.process_time_ns()
            begin_ns = monotonic_ns()
            right = live.ask()
            rows.extend((number, begin_ns, monotonic_ns(), live.port, right))
            live.cpu_ns += time.process_time_ns() - cpu_ns
            if not right:
                del by_number[number]
        room -= design
        at = (at + design) % len(drawn)
    return rows


def _echo(connection: socket.socket, size: int, said: wire.Verification) -> Callable[[], bool]:
    """A message there and back, byte for byte."""
    message = os.urandom(size)

    def once() -> bool:
        connection.sendall(message)
        answer = connection.recv(size)
        while 0 < len(answer) < size:
            part = connection.recv(size - len(answer))
            if not part:
                break
            answer += part
        said.checked += 1
        said.wrong_bytes += answer != message
        return answer == message

    return once


def _http(connection: socket.socket, exchange: wire.Exchange) -> Callable[[], bool]:
    """An HTTP request with a nonce of its own, and its whole answer, judged."""
    prefix, sent = wire.nonces(), 0

    def once() -> bool:
        nonlocal sent
        sent += 1
        nonce = b"%s%08x" % (prefix, sent)
        connection.sendall(exchange.head + nonce + exchange.tail)
        size = connection.recv_into(exchange.buffer)
        if size != exchange.total:
            size = exchange.complete(connection.recv_into, size)
        return exchange.judge(size, nonce)

    return once
