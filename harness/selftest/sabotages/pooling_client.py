"""With reuse off, a client that keeps its connection sends every "first" packet on it (M05)."""

from __future__ import annotations

from dataclasses import replace

from harness.run.asks import Ask
from harness.selftest.harm import Harm
from harness.selftest.sabotages import REUSE_OFF

FIRES = "samples"
BECAUSE = "first packets"
CELL = REUSE_OFF


class Sabotage(Harm):
    """As many requests as the plan wants, on one connection per state."""

    def asked(self, ask: Ask) -> Ask:
        """One probe per state with all the requests behind it."""
        if ask.stage != "probe":
            return ask
        (lane,) = ask.arguments["lanes"]
        requests = (1 + ask.arguments["later_requests"]) * max(state["count"] for state in lane["states"])
        pooling = {**lane, "states": [{**state, "count": 1} for state in lane["states"]]}
        pooled = {"lanes": [pooling], "later_requests": requests - 1}
        return replace(ask, arguments={**ask.arguments, **pooled})
