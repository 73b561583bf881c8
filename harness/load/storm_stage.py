"""A connection storm: all users connect at the instant at which the window opens, once each."""

from __future__ import annotations

from harness.load.connect_stage import ConnectStage, NewConnections


class StormStage(ConnectStage):
    """Op `storm`; one row per user, each intended at the window's opening."""


class StormConnection(NewConnections):
    """One user with one connection."""

    def connect_once(self) -> None:
        """The only connection; one that comes after the window's end still counts."""
        self.connect(self._stage.started_ns)
