"""The twin of a configuration with reuse is measured without (issue 18: A/A)."""

from __future__ import annotations

from harness.run.asks import Ask
from harness.selftest.harm import Harm

FIRES = "tunnel-reuse"
BECAUSE = "tunnels"
LANES = 2


class Sabotage(Harm):
    """The twin's proxies are switched behind the plan's back; the noise floor would be an effect."""

    def asked(self, ask: Ask) -> Ask:
        """Switch before the first packet."""
        if ask.stage == "probe":
            self.lane.ask_proxies("configure", reuse="off")
        return ask
