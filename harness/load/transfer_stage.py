"""Bulk download from the source, on as many streams as asked for."""

from __future__ import annotations

from time import monotonic_ns
from typing import Any

import gevent

from harness.backends.pattern import BLOCK, PERIOD_BYTES
from harness.control import Refused
from harness.load import wire
from harness.load.clock import NS_PER_S
from harness.load.live import LiveSocket
from harness.load.records import TRANSFER_FIELDS
from harness.load.stage import Recorder, Stage

READ_BYTES = 64 * 1024
"""One read; see `harness.backends.tcp` for what larger ones cost."""
READS_PER_TURN = 8
"""So much a stream may read before the others get their turn: a pass through the event loop for every
64 KiB would only cost."""
INTERVAL_NS = 10_000_000
"""A row covers at least so much time."""
CHECKED_BYTES = 64
"""So many bytes at each read's start are compared with what the source sends at that offset: loss,
repetition and swaps show in them. Comparing all would read each byte twice."""


class TransferStage(Stage):
    """Op `transfer`."""

    fields = TRANSFER_FIELDS
    settle_s = 0.1
    """The streams read before the window opens: what buffers held back is not throughput."""

    def __init__(self, request: dict[str, Any], recorder: Recorder) -> None:
        seconds, users = float(request["seconds"]), int(request["streams"])
        if users < 1 or seconds <= 0:
            raise Refused(f"streams {users}, seconds {seconds}: expected >= 1, > 0", kind="bad-request")
        rows = users * (int(seconds * NS_PER_S / INTERVAL_NS) + 3)
        target = wire.Target(**request["target"])
        super().__init__(recorder, target=target, users=users, seconds=seconds, rows=rows)

    def record(self, user: int, start_ns: int, end_ns: int, size: int, port: int, *, ok: bool) -> None:
        """One interval of one stream."""
        recorder, tally = self.recorder, self.tally
        recorder.pack(recorder.buffer, recorder.position, user, start_ns, end_ns, size, port, ok)
        recorder.position += recorder.size
        tally.requests += 1
        tally.failures += not ok
        tally.total_ns += end_ns - start_ns
        tally.bytes += size


class BulkStream:
    """One download without end."""

    def __init__(self, stage: TransferStage) -> None:
        self._stage = stage
        self._user = stage.number()
        self._socket = LiveSocket(wire.family(stage.target.address))
        self._buffer = bytearray(READ_BYTES)
        self._expected = memoryview(BLOCK + BLOCK[:CHECKED_BYTES])
        self._offset = 0
        self._broken = True

    def open(self) -> None:
        """Connect, ask for bytes without end, read the first."""
        stage = self._stage
        try:
            stage.opened += 1
            self._socket.connect(stage.target.address, stage.target.port)
            self._socket.send(b"0\n")
            self._socket.watch()
            self._broken = False
            while not self._offset and not self._broken:
                self._read()
        except OSError as exc:
            stage.verification.errors[wire.error_kind(exc)] += 1
            self._broken = True
        stage.ready()

    def download(self) -> None:
        """Read until the window's end; one row per interval within it."""
        stage, received = self._stage, 0
        try:
            while not (self._broken or stage.started_ns):
                received = self._read()  # the window opens in its wait: the last one's bytes are inside
        except gevent.GreenletExit:  # the window came and went, and nothing was received
            stage.verification.errors["stalled"] += 1
            raise
        if self._broken:
            return
        # A stream on which nothing comes must notice the window's end too; the timer repeats because
        # libev's clock may be some milliseconds early.
        ending: Any = gevent.get_hub().loop.timer((stage.ended_ns - monotonic_ns()) / NS_PER_S, repeat=0.005)
        ending.start(gevent.getcurrent().switch)
        start_ns = now = stage.started_ns
        try:
            while now < stage.ended_ns and not self._broken:
                received += self._read()
                now = monotonic_ns()
                if now - start_ns >= INTERVAL_NS or now >= stage.ended_ns or self._broken:
                    port, ok = self._socket.port, not self._broken
                    stage.record(self._user, start_ns, now, received, port, ok=ok)
                    start_ns, received = now, 0
        finally:
            ending.stop()
            ending.close()

    def close(self) -> None:
        """By RST: the source would go on sending, and reading the rest out would run into what follows."""
        self._socket.reset()
        self._socket.close()
        self._stage.leave()

    def _read(self) -> int:
        """Wait once, read what is there, check; how many bytes came, which may be none."""
        self._socket.wait()
        received = 0
        for _ in range(READS_PER_TURN):
            try:
                size = self._socket.receive(self._buffer)
            except BlockingIOError:
                break
            except OSError as exc:
                self._break(wire.error_kind(exc))
                break
            if not size:
                self._break("closed")
                break
            received += size
            if not self._check(size) or size < READ_BYTES:
                break
        return received

    def _check(self, size: int) -> bool:
        """Whether the bytes just read are those that the source sends at this offset."""
        at = self._offset % PERIOD_BYTES
        self._offset += size
        self._stage.verification.checked += 1
        if self._buffer.startswith(self._expected[at : at + min(size, CHECKED_BYTES)]):
            return True
        self._stage.verification.wrong_bytes += 1
        self._broken = True
        return False

    def _break(self, kind: str) -> None:
        self._stage.verification.errors[kind] += 1
        self._broken = True
