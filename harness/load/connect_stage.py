"""New connections back to back: connect, one request, its answer, close in order."""

from __future__ import annotations

from time import monotonic_ns
from typing import Any, Generic

from harness.load import wire
from harness.load.lane import Lane
from harness.load.request_stage import L, RequestLoad, RequestStage

CONNECTIONS_PER_BLOCK = 16
"""Sockets fetched for each user before the first block; later ones follow from what blocks took."""


class ConnectLoad(RequestLoad):
    """One lane's connections."""

    def __init__(self, lane: Lane, users: int) -> None:
        super().__init__(lane, users)
        self.hungry = CONNECTIONS_PER_BLOCK * users

    def answered(self, pod: str, *, right: bool) -> None:
        """Told who answered the connection whose row comes next."""


class ConnectStage(RequestStage[L], Generic[L]):
    """Op `connects`; rows as of requests, each from before connect()."""

    load: type[Any] = ConnectLoad


class NewConnections:
    """One user: one connection after another."""

    def __init__(self, stage: ConnectStage[ConnectLoad]) -> None:
        self._stage = stage
        self._lane, self._user = stage.join()
        self._prefix = wire.nonces()
        self._made = 0
        stage.ready()

    def connect_in_blocks(self) -> None:
        """One row per connection; one that fails is the last."""
        for _ in self._lane.blocks(self._user):
            while monotonic_ns() < self._lane.ended_ns:
                if not self.connect():
                    return

    def close(self) -> None:
        """Leave."""
        self._lane.leave(self._user)

    def connect(self, intended_ns: int = 0) -> bool:
        """One connection from its start, or from when it was due, to its end; whether all was right."""
        stage, lane = self._stage, self._lane
        self._made += 1
        nonce = b"%s%08x" % (self._prefix, self._made)
        exchange = wire.Exchange(lane.target, lane.source, stage.response_bytes, lane.verification)
        live = lane.socket()
        first_ns = end_ns = size = 0
        right = False
        start_ns = monotonic_ns()
        try:
            live.connect(lane.target.address, lane.target.port)
            live.watch()
            live.send(exchange.request(nonce))
            size = live.read(memoryview(exchange.buffer))
            first_ns = monotonic_ns()
            size = exchange.complete(live.read, size)
            end_ns = monotonic_ns()
            right = exchange.judge(size, nonce)
            if not live.finish():
                lane.verification.errors["late-bytes"] += 1
        except OSError as exc:
            lane.verification.errors[wire.error_kind(exc)] += 1
        except wire.BadAnswer as exc:
            lane.verification.errors[exc.kind] += 1
        finally:
            port = live.port
            live.close()
            exchange.end()
            lane.answered(exchange.pod, right=right)
            due_ns = intended_ns or start_ns
            stage.record(lane, self._user, due_ns, start_ns, first_ns, end_ns, size, port, right)
        return right
