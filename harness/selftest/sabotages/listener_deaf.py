"""What the round sends in clear for the listener to hear goes through a tunnel instead (M35)."""

from __future__ import annotations

from dataclasses import replace

from harness.run.asks import Ask
from harness.selftest.harm import SERVER, Harm
from harness.topology.model import APP_PORT

FIRES = "nonce-in-clear"
BECAUSE = "in the control"


class Sabotage(Harm):
    """As if it could not hear: then its silence on a cell's tunnels says nothing."""

    def asked(self, ask: Ask) -> Ask:
        """The server in the mesh in the place of the host outside."""
        if ask.stage != "clock":
            return ask
        server = self.pod(SERVER)
        target = {"address": str(server.address), "port": APP_PORT, "pod": server.name, "node": server.node}
        lanes = [{**lane, "target": target} for lane in ask.arguments["lanes"]]
        return replace(ask, arguments={**ask.arguments, "lanes": lanes})
