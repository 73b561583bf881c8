"""The client's redirection is removed once the cell's first counters have been read (M08, F20)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.run.asks import Ask
from harness.selftest.harm import CLIENT, Harm

FIRES = "interception"
BECAUSE = "redirect-outbound"


class Sabotage(Harm):
    """Without its rule the traffic passes by the proxy, and everything looks fine and fast."""

    @contextmanager
    def during(self, ask: Ask) -> Iterator[None]:
        """Remove them before the first packet."""
        if ask.stage == "probe":
            self.without_rules(CLIENT, "nat")
        yield
