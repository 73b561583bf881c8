"""Messages in many small writes: each write leaves at once, the echo brings all of them back."""

from __future__ import annotations

import os
from time import monotonic_ns
from typing import Any

from gevent import GreenletExit

from harness.load import wire
from harness.load.request_stage import RequestLoad, RequestStage
from harness.load.stage import Recorder


class ChattyStage(RequestStage[RequestLoad]):
    """Op `chatty`; one row per message, from its first write to the last byte that came back."""

    def __init__(self, request: dict[str, Any], recorder: Recorder) -> None:
        super().__init__({**request, "response_bytes": 0}, recorder)
        self.writes, self.write_bytes = int(request["writes"]), int(request["write_bytes"])


class ChattyConnection:
    """One connection with one message under way."""

    def __init__(self, stage: ChattyStage) -> None:
        self._stage = stage
        self._lane, self._user = stage.join()
        self._socket = self._lane.socket()
        self._message = os.urandom(stage.writes * stage.write_bytes)
        self._buffer = bytearray(len(self._message) + 1)
        self._broken = True

    def open(self) -> None:
        """Connect and send one message that leaves no row."""
        try:
            self._socket.connect(self._lane.target.address, self._lane.target.port)
            self._socket.watch()
            self._broken = False
            self._once()
        except OSError as exc:
            self._fail(wire.error_kind(exc))
        finally:
            self._socket.unwatch()
            self._stage.ready()

    def chat(self) -> None:
        """One message after another in the lane's blocks."""
        lane = self._lane
        for _ in lane.blocks(self._user):
            self._socket.watch()
            while not self._broken and (start_ns := monotonic_ns()) < lane.ended_ns:
                self._message_at(start_ns)
            self._socket.unwatch()

    def _message_at(self, start_ns: int) -> None:
        first_ns = size = 0
        try:
            first_ns, size = self._once()
        except OSError as exc:
            self._fail(wire.error_kind(exc))
        except GreenletExit:  # the block is long over and nothing came
            self._fail("unanswered")
            raise
        finally:
            end_ns, port, ok = monotonic_ns(), self._socket.port, not self._broken
            self._stage.record(self._lane, self._user, start_ns, start_ns, first_ns, end_ns, size, port, ok)

    def close(self) -> None:
        """In order where the connection is sound; else by RST."""
        try:
            self._socket.leave(self._lane.verification, broken=self._broken)
        finally:
            self._lane.leave(self._user)

    def _once(self) -> tuple[int, int]:
        """Time of the first byte back, and how many came."""
        live, message, step = self._socket, self._message, self._stage.write_bytes
        for at in range(0, len(message), step):
            live.send(message[at : at + step])
        view, size, first_ns = memoryview(self._buffer), 0, 0
        while size < len(message):
            more = live.read(view[size:])
            first_ns = first_ns or monotonic_ns()
            if not more:
                self._fail("closed")
                return first_ns, size
            size += more
        said = self._lane.verification
        said.checked += 1
        if self._buffer[:size] != message:
            said.wrong_bytes += 1
            self._broken = True
        return first_ns, size

    def _fail(self, kind: str) -> None:
        self._lane.verification.errors[kind] += 1
        self._broken = True
