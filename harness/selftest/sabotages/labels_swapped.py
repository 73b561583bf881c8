"""A cell that says "reuse on" is measured with reuse off (M09)."""

from __future__ import annotations

from harness.run.asks import Ask
from harness.selftest.harm import Harm

FIRES = "tunnel-reuse"
BECAUSE = "tunnels"


class Sabotage(Harm):
    """The proxies are switched behind the plan's back."""

    def asked(self, ask: Ask) -> Ask:
        """Switch before the first packet."""
        if ask.stage == "probe":
            self.lane.ask_proxies("configure", reuse="off")
        return ask
