"""Live connections that say nothing: each carries a request before the window and one after it."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic_ns
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore

from harness.load.clock import NS_PER_S
from harness.load.request_stage import LiveConnection, RequestLoad, RequestStage
from harness.load.stage import Recorder

AT_ONCE = 32
"""So many open at the same time: well below any accept queue, for this is no storm."""


class FleetStage(RequestStage[RequestLoad]):
    """Op `fleet`; one row per connection, of the request after the window. All lanes hold theirs at once."""

    ready_s = 60.0
    grace_s = 30.0
    """A proxy in Python opens, and answers, about a thousand connections in two seconds."""

    def __init__(self, request: dict[str, Any], recorder: Recorder) -> None:
        super().__init__(request, recorder)
        self.block_ns = int(self.seconds * NS_PER_S)
        self.place = BoundedSemaphore(AT_ONCE)

    def turns(self) -> Iterator[tuple[int, ...]]:
        """One window, of all lanes."""
        return iter([tuple(self.lanes)])


class FleetMember(LiveConnection[RequestLoad]):
    """One connection of the fleet."""

    def __init__(self, stage: FleetStage) -> None:
        super().__init__(stage)
        self._fleet = stage

    def open(self) -> None:
        """Connect and ask once, a few at a time."""
        with self._fleet.place:
            super().open()

    def prove(self) -> None:
        """Say nothing through the window, then ask once more: the connection has lived through it."""
        for _ in self._lane.blocks(self._user):
            gevent.sleep(max(0, self._lane.ended_ns - monotonic_ns()) / NS_PER_S)
            with self._fleet.place:
                self._socket.watch()
                if self.sound:
                    self.ask(monotonic_ns())

    def close(self) -> None:
        """In order, a few at a time."""
        with self._fleet.place:
            super().close()
