"""The client's redirection is removed before the round's canary is asked (M08)."""

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
        """Remove them, and make the rules whole again before the cell: no count of it can tell."""
        self.without_rules(CLIENT, "nat")
        yield
        self.write_rules_again()
