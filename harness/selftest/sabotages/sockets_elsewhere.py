"""The load's sockets are made in another pod's namespace than the client's (issue 18: lanes)."""

from __future__ import annotations

from dataclasses import replace

from harness.run.asks import Ask
from harness.selftest.harm import NEIGHBOUR, Harm

FIRES = "answers"
BECAUSE = "wrong_source"


class Sabotage(Harm):
    """As an agent would that mixes its workers up: the neighbour is captured, too, and may ask the server."""

    def asked(self, ask: Ask) -> Ask:
        """Sockets for first packets come from the neighbour."""
        if ask.stage != "probe":
            return ask
        neighbour = self.pod(NEIGHBOUR).netns
        lanes = [{**lane, "namespace": neighbour} for lane in ask.arguments["lanes"]]
        return replace(ask, arguments={**ask.arguments, "lanes": lanes})
