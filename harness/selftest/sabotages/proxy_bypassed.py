"""The client's redirection is flushed before the round's canary is asked (M08)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from harness.selftest.harm import CLIENT, Harm

FIRES = "canary"
BECAUSE = "canary answers from"


class Sabotage(Harm):
    """Without the proxy in its way the request goes to where nothing is."""

    @contextmanager
    def proving(self) -> Iterator[None]:
        """Flush, and make the rules whole again before the cell: no count of it can tell."""
        self.inside(CLIENT, ["iptables-legacy", "-t", "nat", "-F", "ISTIO_OUTPUT"])
        yield
        self.bed.capture(self.bed.interception, self.bed.filler_rules)
