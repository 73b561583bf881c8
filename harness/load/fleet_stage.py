"""Live connections that say nothing: each carries a request before the window and one after it."""

from __future__ import annotations

from time import monotonic_ns
from typing import Any

import gevent
from gevent.lock import BoundedSemaphore

from harness.load.request_stage import LiveConnection, RequestStage
from harness.load.stage import Recorder

AT_ONCE = 32
"""So many open at the same time: well below any accept queue, for this is no storm."""


class FleetStage(RequestStage):
    """Op `fleet`; one row per connection, of the request after the window."""

    ready_s = 60.0
    grace_s = 30.0
    """A proxy in Python opens, and answers, about a thousand connections in two seconds."""

    def __init__(self, request: dict[str, Any], recorder: Recorder) -> None:
        super().__init__(request, recorder)
        self.turn = BoundedSemaphore(AT_ONCE)


class FleetMember(LiveConnection):
    """One connection of the fleet."""

    def __init__(self, stage: FleetStage) -> None:
        super().__init__(stage)
        self._fleet = stage

    def open(self) -> None:
        """Connect and ask once, in turn; then say nothing until the window has ended."""
        with self._fleet.turn:
            self.connect()
        self._fleet.ready()
        self._fleet.window.wait()
        gevent.sleep(max(0, self._fleet.ended_ns - monotonic_ns()) / 1e9)

    def prove(self) -> None:
        """Ask once more: the connection has lived through the window."""
        with self._fleet.turn:
            self.watch()
            if self.sound:
                self.ask(monotonic_ns())

    def close(self) -> None:
        """In order, in turn."""
        with self._fleet.turn:
            super().close()
