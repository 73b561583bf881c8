"""New connections to a service: each row says which of its endpoints answered."""

from __future__ import annotations

from typing import Any

from harness.load.connect_stage import ConnectStage
from harness.load.records import ENDPOINT_FIELDS
from harness.load.stage import Recorder


class EndpointStage(ConnectStage):
    """Op `endpoints`; `endpoint` is a position in the target's endpoints, as they were asked with."""

    fields = ENDPOINT_FIELDS

    def __init__(self, request: dict[str, Any], recorder: Recorder) -> None:
        super().__init__(request, recorder)
        names = list(self.target.endpoints) or [self.target.pod]
        self._positions = {name: position for position, name in enumerate(names)}

    def answered(self, pod: str, *, right: bool) -> None:
        """Note who answered the connection whose row comes next."""
        self.more = (self._positions.get(pod, -1) if right else -1,)
