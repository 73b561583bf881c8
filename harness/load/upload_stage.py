"""Bulk upload to the sink: its own count and digest of what came are the receiving end's word."""

from __future__ import annotations

import hashlib
from time import monotonic_ns

import gevent

from harness.backends.pattern import BLOCK, PERIOD_BYTES
from harness.load import wire
from harness.load.live import LiveSocket
from harness.load.transfer_stage import INTERVAL_NS, TransferStage

WRITE_BYTES = 64 * 1024
"""One write; as large as one read of the download's."""
WRITES_PER_TURN = 8
"""So much a stream may write before the others get their turn."""
ANSWER_BYTES = 128
"""The sink's answer has 20 digits, a space, 64 hex digits and a newline at most."""
BLOCKS = BLOCK + BLOCK[:WRITE_BYTES]
"""A period and what a write that crosses its end needs."""


class UploadStage(TransferStage):
    """Op `upload`. A stream's last row ends with the sink's answer: the draining is part of the time."""

    settle_s = 0.0
    grace_s = 5.0
    """A slow path drains what buffers took, and the sink digests it: 64 MiB at 100 Mb/s."""


class SendingStream:
    """One connection on which the pattern will be sent."""

    def __init__(self, stage: TransferStage) -> None:
        self._stage = stage
        self._user = stage.number()
        self._socket = LiveSocket(wire.family(stage.target.address))
        self._pattern = memoryview(BLOCKS)
        self._sent = 0
        self._broken = True

    def open(self) -> None:
        """Connect and wait for the window."""
        stage = self._stage
        try:
            stage.opened += 1
            self._socket.connect(stage.target.address, stage.target.port)
            self._broken = False
        except OSError as exc:
            stage.verification.errors[wire.error_kind(exc)] += 1
        stage.ready()
        stage.window.wait()


class UploadStream(SendingStream):
    """One connection that sends the pattern until the window ends."""

    def upload(self) -> None:
        """Send until the end, then wait for the sink's answer: rows of intervals, and one of the draining."""
        if self._broken:
            return
        stage, start_ns, before = self._stage, self._stage.started_ns, 0
        self._socket.watch(writable=True)
        try:
            while (now := monotonic_ns()) < stage.ended_ns:
                if now - start_ns >= INTERVAL_NS:
                    self._stage.record(
                        self._user, start_ns, now, self._sent - before, self._socket.port, ok=True
                    )
                    start_ns, before = now, self._sent
                self._write()
            self._socket.watch()
            right = self._answered()
        except OSError as exc:
            stage.verification.errors[wire.error_kind(exc)] += 1
            right = False
        except gevent.GreenletExit:  # the window is long over and the sink has not answered
            stage.verification.errors["unanswered"] += 1
            stage.record(self._user, start_ns, monotonic_ns(), 0, self._socket.port, ok=False)
            raise
        self._broken = not right
        size, port = self._sent - before, self._socket.port
        stage.record(self._user, start_ns, monotonic_ns(), size, port, ok=right)

    def close(self) -> None:
        """The sink has ended its direction, or the connection is of no use."""
        if self._broken:
            self._socket.reset()
        self._socket.close()
        self._stage.leave()

    def _write(self) -> None:
        """Write what the kernel takes, up to a turn's worth, and let others run."""
        for _ in range(WRITES_PER_TURN):
            at = self._sent % PERIOD_BYTES
            try:
                self._sent += self._socket.send(self._pattern[at : at + WRITE_BYTES])
            except BlockingIOError:
                break
        self._socket.wait()

    def _answered(self) -> bool:
        """Whether the sink got every byte, in order."""
        self._socket.end()
        buffer = bytearray(ANSWER_BYTES)
        size = 0
        while size < ANSWER_BYTES and (more := self._socket.read(memoryview(buffer)[size:])):
            size += more
        said = self._stage.verification
        said.checked += 1
        right = bytes(buffer[:size]) == f"{self._sent} {digest(self._sent)}\n".encode()
        said.wrong_bytes += not right
        return right


_prefixes = [hashlib.sha256()]
"""Digests of so many whole periods, kept: every upload of this process begins with the same bytes."""


def digest(size: int) -> str:
    """SHA-256 of the pattern's first bytes, in hex."""
    periods, rest = divmod(size, PERIOD_BYTES)
    while len(_prefixes) <= periods:
        longer = _prefixes[-1].copy()
        longer.update(BLOCK)
        _prefixes.append(longer)
    whole = _prefixes[periods].copy()
    whole.update(memoryview(BLOCK)[:rest])
    return whole.hexdigest()
