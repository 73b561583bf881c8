"""New connections to a service: each row says which of its endpoints answered."""

from __future__ import annotations

from harness.load.connect_stage import ConnectLoad, ConnectStage
from harness.load.lane import Lane
from harness.load.records import ENDPOINT_FIELDS


class EndpointLoad(ConnectLoad):
    """One lane's connections; `endpoint` is a position in its target's endpoints, as they were asked with."""

    def __init__(self, lane: Lane, users: int) -> None:
        super().__init__(lane, users)
        names = list(lane.target.endpoints) or [lane.target.pod]
        self._positions = {name: position for position, name in enumerate(names)}

    def answered(self, pod: str, *, right: bool) -> None:
        """Note who answered the connection whose row comes next."""
        self.more = (self._positions.get(pod, -1) if right else -1,)


class EndpointStage(ConnectStage[EndpointLoad]):
    """Op `endpoints`."""

    fields = ENDPOINT_FIELDS
    load = EndpointLoad
