"""Bulk both ways at once: each connection sends the pattern to the echo and reads it back."""

from __future__ import annotations

from contextlib import suppress
from time import monotonic_ns

import gevent

from harness.backends.pattern import PERIOD_BYTES
from harness.load import wire
from harness.load.transfer_stage import CHECKED_BYTES, INTERVAL_NS, READ_BYTES, TransferStage
from harness.load.upload_stage import WRITE_BYTES, SendingStream


class EchoStage(TransferStage):
    """Op `both-ways`; a row's bytes are those that came back, hence of each way."""

    settle_s = 0.0


class EchoStream(SendingStream):
    """One connection whose two directions are both kept full."""

    def __init__(self, stage: EchoStage) -> None:
        super().__init__(stage)
        self._buffer = bytearray(READ_BYTES)
        self._received = 0

    def exchange(self) -> None:
        """Send and read until the end; one row per interval."""
        if self._broken:
            return
        stage, start_ns, before = self._stage, self._stage.started_ns, 0
        self._socket.watch(writable=True)
        now = start_ns
        while now < stage.ended_ns and not self._broken:
            try:
                self._turn()
            except OSError as exc:
                stage.verification.errors[wire.error_kind(exc)] += 1
                self._broken = True
            except gevent.GreenletExit:  # the window is long over: both directions stood still
                stage.verification.errors["stalled"] += 1
                raise
            now = monotonic_ns()
            if now - start_ns >= INTERVAL_NS or now >= stage.ended_ns or self._broken:
                size, port = self._received - before, self._socket.port
                stage.record(self._user, start_ns, now, size, port, ok=not self._broken)
                start_ns, before = now, self._received

    def close(self) -> None:
        """By RST: what is under way would run into what follows."""
        self._socket.reset()
        self._socket.close()
        self._stage.leave()

    def _turn(self) -> None:
        """Write what the kernel takes, read what is there, and let others run."""
        at = self._sent % PERIOD_BYTES
        with suppress(BlockingIOError):
            self._sent += self._socket.send(self._pattern[at : at + WRITE_BYTES])
        with suppress(BlockingIOError):
            size = self._socket.receive(self._buffer)
            if size:
                self._check(size)
            else:
                self._stage.verification.errors["closed"] += 1
                self._broken = True
        self._socket.wait()

    def _check(self, size: int) -> None:
        """Whether the bytes just read are those that were sent at this offset."""
        said, at = self._stage.verification, self._received % PERIOD_BYTES
        self._received += size
        said.checked += 1
        if not self._buffer.startswith(self._pattern[at : at + min(size, CHECKED_BYTES)]):
            said.wrong_bytes += 1
            self._broken = True
