"""Bulk in blocks: downloads from the source, uploads to the sink, and both ways through the echo.

A stream has a goal, the bytes that it has decided to move, which runs ahead of what has arrived by no
more than a bound. At a block's end the goal stands still, and the stream is drained when all of it has
arrived: what buffers hold of one lane never runs on in another's block. A stream that ran dry in the midst
of a block had too low a bound, and doubles it.
"""

from __future__ import annotations

import hashlib
from time import monotonic_ns
from typing import Any

import gevent

from harness.backends.pattern import BLOCK, PERIOD_BYTES
from harness.load import wire
from harness.load.records import TRANSFER_FIELDS
from harness.load.stage import LaneLoad, Recorder, Stage

READ_BYTES = 64 * 1024
"""One read; see `harness.backends.tcp` for what larger ones cost."""
PIECE_BYTES = 256 * 1024
"""Step of a goal, and of what the sink tells of (`MARK_BYTES` in `harness.backends.tcp`)."""
AHEAD_BYTES = 1024 * 1024
"""How far the goal is ahead at first."""
AHEAD_MOST_BYTES = 64 * 1024 * 1024
"""And at most: 5 Gb/s over 100 ms."""
STEPS_PER_TURN = 8
"""Reads or writes of a stream before the others of its lane get theirs: a pass through the event loop for
every 64 KiB would only cost."""
CHECKED_BYTES = 64
"""So many bytes at each read's start are compared with what was sent at that offset: loss, repetition and
swaps show in them. Comparing all would read each byte twice."""
ANSWER_BYTES = 128
"""The sink's last answer has 20 digits, a space, 64 hex digits and a newline at most."""
BLOCKS = memoryview(BLOCK + BLOCK[:READ_BYTES])
"""A period and what a write or a comparison that crosses its end needs."""


class BulkStage(Stage[LaneLoad]):
    """Ops `transfer`, `upload` and `both-ways`; one row per stream and block."""

    fields = TRANSFER_FIELDS
    load = LaneLoad
    block_ms = 25.0
    """Long enough for what it takes to drain: noise of a round was 6.5 % at 6 ms, 5.1 at 12, 2.1 at 25."""
    grace_s = 5.0
    """A slow path drains what is under way, and the sink digests it: 64 MiB at 100 Mb/s."""

    def __init__(self, request: dict[str, Any], recorder: Recorder) -> None:
        seconds, users = float(request["seconds"]), int(request["streams"])
        super().__init__(request, recorder, users=users, seconds=seconds, rows=0)
        recorder.begin(recorder.fields, (self.cycles + 1) * max(0, users) * len(self.lanes))


class BulkStream:
    """One connection that moves bytes in its lane's blocks."""

    def __init__(self, stage: BulkStage) -> None:
        self._stage = stage
        self._lane, self._user = stage.join()
        self._socket = self._lane.socket()
        self._buffer = bytearray(READ_BYTES)
        self._goal = self._sent = self._arrived = 0
        self._ahead = AHEAD_BYTES
        self._broken = True

    def open(self) -> None:
        """Connect, and move one piece that leaves no row: tunnels, windows and buffers are there then."""
        try:
            self._socket.connect(self._lane.target.address, self._lane.target.port)
            self._broken = False
            self._goal = PIECE_BYTES
            self._move(until_ns=0)
        except OSError as exc:
            self._fail(wire.error_kind(exc))
        finally:
            self._stage.ready()

    def run(self) -> None:
        """Move bytes in the lane's blocks: one row each."""
        lane = self._lane
        for _ in lane.blocks(self._user):
            if self._broken:
                return
            before = self._arrived
            try:
                self._move(until_ns=lane.ended_ns)
            except OSError as exc:
                self._fail(wire.error_kind(exc))
            except gevent.GreenletExit:  # the block is long over and bytes are missing
                self._fail("stalled")
                raise
            finally:
                self._record(lane.started_ns, monotonic_ns(), self._arrived - before)

    def close(self) -> None:
        """By RST: nothing is under way."""
        self._socket.reset()
        self._socket.close()
        self._lane.leave(self._user)

    def _move(self, until_ns: int) -> None:
        """Raise the goal until an instant, then wait until all of it has arrived."""
        self._socket.watch()
        while not self._broken:
            if monotonic_ns() < until_ns:
                if self._arrived == self._sent and self._sent > self._begun:
                    self._ahead = min(2 * self._ahead, AHEAD_MOST_BYTES)
                ahead = self._arrived + self._ahead
                self._goal = max(self._goal, ahead - ahead % PIECE_BYTES)
            elif self._arrived == self._goal:
                break
            self._push()
            self._socket.wait()
            self._pull()
        self._socket.unwatch()
        self._begun = self._goal

    _begun = 0
    """The goal at the end of the block before."""

    def _push(self) -> None:
        """Ask for, or send, what lacks to the goal."""
        raise NotImplementedError

    def _pull(self) -> None:
        """Read what is there, up to a turn's worth."""
        for _ in range(STEPS_PER_TURN):
            try:
                size = self._socket.receive(self._buffer)
            except BlockingIOError:
                return
            if not size:
                self._fail("closed")
            if self._broken:
                return
            self._take(size)
            if size < READ_BYTES:
                return

    def _take(self, size: int) -> None:
        """Bytes of the pattern that came, the first `size` of the buffer: are they those of this offset?"""
        said, at = self._lane.verification, self._arrived % PERIOD_BYTES
        self._arrived += size
        said.checked += 1
        if not self._buffer.startswith(BLOCKS[at : at + min(size, CHECKED_BYTES)]):
            said.wrong_bytes += 1
            self._broken = True

    def _write(self) -> None:
        """Send the pattern as far as the kernel takes it, up to a turn's worth."""
        for _ in range(STEPS_PER_TURN):
            if self._sent == self._goal:
                self._socket.watch_room(wanted=False)
                return
            at = self._sent % PERIOD_BYTES
            try:
                self._sent += self._socket.send(BLOCKS[at : at + min(READ_BYTES, self._goal - self._sent)])
            except BlockingIOError:
                break
        self._socket.watch_room(wanted=True)

    def _record(self, start_ns: int, end_ns: int, size: int) -> None:
        recorder, tally, ok = self._stage.recorder, self._lane.tally, not self._broken
        recorder.pack(
            recorder.buffer,
            recorder.position,
            self._lane.number,
            self._user,
            start_ns,
            end_ns,
            size,
            self._socket.port,
            ok,
        )
        recorder.position += recorder.size
        tally.requests += 1
        tally.failures += not ok
        tally.total_ns += end_ns - start_ns if ok else 0
        tally.bytes += size

    def _fail(self, kind: str) -> None:
        self._lane.verification.errors[kind] += 1
        self._broken = True


class Download(BulkStream):
    """Asks the source for pieces."""

    def _push(self) -> None:
        if self._sent < self._goal:
            self._socket.send(b"%d\n" % (self._goal - self._sent))
            self._sent = self._goal


class BothWays(BulkStream):
    """Sends to the echo and reads back; a row's bytes are those that came back, hence of each way."""

    def _push(self) -> None:
        self._write()


class Upload(BulkStream):
    """Sends to the sink, whose word it is what has arrived."""

    def __init__(self, stage: BulkStage) -> None:
        super().__init__(stage)
        self._said = b""

    def _push(self) -> None:
        self._write()

    def _take(self, size: int) -> None:
        """What the sink said: how much arrived."""
        *lines, self._said = (self._said + self._buffer[:size]).split(b"\n")
        if not lines:
            return
        if lines[-1].isdigit() and self._arrived <= int(lines[-1]) <= self._sent:
            self._arrived = int(lines[-1])
        else:
            self._fail("bad-mark")

    def close(self) -> None:
        """End, and see whether the sink got every byte, in order."""
        try:
            if not self._broken:
                with gevent.Timeout(self._stage.grace_s, TimeoutError):
                    self._answered()
        except OSError as exc:
            self._fail(wire.error_kind(exc))
        finally:
            super().close()

    def _answered(self) -> None:
        self._socket.watch()
        self._socket.end()
        answer, view = b"", memoryview(self._buffer)
        while len(answer) < ANSWER_BYTES and (more := self._socket.read(view[:ANSWER_BYTES])):
            answer += view[:more]
        said = self._lane.verification
        said.checked += 1
        said.wrong_bytes += answer != f"{self._sent} {digest(self._sent)}\n".encode()


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
