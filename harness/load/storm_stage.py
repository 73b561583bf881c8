"""A connection storm: all of a lane's users connect at the instant at which its block begins, once each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.load.clock import NS_PER_S
from harness.load.connect_stage import ConnectLoad, ConnectStage, NewConnections
from harness.load.order import cycles
from harness.load.stage import Recorder


class StormStage(ConnectStage[ConnectLoad]):
    """Op `storm`; one row per user. Lanes have their storms one after another: two at once would be one."""

    def __init__(self, request: dict[str, Any], recorder: Recorder) -> None:
        super().__init__(request, recorder)
        self.block_ns = int(self.seconds * NS_PER_S)

    def turns(self) -> Iterator[tuple[int, ...]]:
        """One block of each lane, as long as its storm takes."""
        return ((number,) for cycle in cycles(list(self.lanes), self.seed, 1) for number in cycle)


class StormConnection(NewConnections):
    """One user with one connection."""

    def connect_once(self) -> None:
        """The only connection; one that ends after the block does still counts."""
        for _ in self._lane.blocks(self._user):
            self.connect(self._lane.started_ns)
