"""New connections back to back: connect, one request, its answer, close in order."""

from __future__ import annotations

from time import monotonic_ns

from harness.load import wire
from harness.load.live import LiveSocket
from harness.load.request_stage import RequestStage


class ConnectStage(RequestStage):
    """Op `connects`; rows as of requests, each from before connect()."""

    def answered(self, pod: str, *, right: bool) -> None:
        """Told who answered the connection whose row comes next."""


class NewConnections:
    """One user: one connection after another."""

    def __init__(self, stage: ConnectStage) -> None:
        self._stage = stage
        self._user = stage.number()
        self._prefix = wire.nonces()
        self._made = 0

    def open(self) -> None:
        """Wait for the window; there is nothing to open before."""
        self._stage.ready()
        self._stage.window.wait()

    def connect_until_end(self) -> None:
        """One row per connection; one that fails is the last."""
        while monotonic_ns() < self._stage.ended_ns and self.connect():
            pass

    def close(self) -> None:
        """Leave."""
        self._stage.leave()

    def connect(self, intended_ns: int = 0) -> bool:
        """One connection from its start, or from when it was due, to its end; whether all was right."""
        stage = self._stage
        self._made += 1
        nonce = b"%s%08x" % (self._prefix, self._made)
        exchange = wire.Exchange(stage.target, stage.source, stage.response_bytes, stage.verification)
        live = LiveSocket(wire.family(stage.target.address))
        first_ns = end_ns = size = 0
        right = False
        start_ns = monotonic_ns()
        try:
            stage.opened += 1
            live.connect(stage.target.address, stage.target.port)
            live.watch()
            live.send(exchange.request(nonce))
            size = live.read(memoryview(exchange.buffer))
            first_ns = monotonic_ns()
            size = exchange.complete(live.read, size)
            end_ns = monotonic_ns()
            right = exchange.judge(size, nonce)
            if not live.finish():
                stage.verification.errors["late-bytes"] += 1
        except OSError as exc:
            stage.verification.errors[wire.error_kind(exc)] += 1
        except wire.BadAnswer as exc:
            stage.verification.errors[exc.kind] += 1
        finally:
            port = live.port
            live.close()
            exchange.end()
            stage.answered(exchange.pod, right=right)
            due_ns = intended_ns or start_ns
            stage.record(self._user, due_ns, start_ns, first_ns, end_ns, size, port, right)
        return right
