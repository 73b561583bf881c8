"""Inbound connections that live, so that a change of policy can cut them.

A connection is added before its policies are evaluated: a change in between then finds it, and no
connection slips through that was judged by the old policies and carried under the new ones.
Source: ztunnel src/proxy/connection_manager.rs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from proxy.listeners.verdict import Refused
from proxy.rbac import Compiled, Decision, Facts, evaluate
from proxy.relay.outcome import Outcome

POLICY_CHANGE = "connection closed due to policy change"
"""ztunnel's words."""


class Relay(Protocol):
    """What carries a connection's bytes."""

    async def run(self) -> Outcome:
        """Until it is over."""

    def cut(self, reason: str) -> None:
        """End it now."""


class Live:
    """One connection, from before its policies are evaluated to its end."""

    __slots__ = ("_reason", "_relay", "facts")

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self._relay: Relay | None = None
        self._reason: str | None = None

    def check(self) -> None:
        """Raise Refused when it was cut while it was still being connected."""
        if self._reason is not None:
            raise Refused(self._reason, status=401)

    async def run(self, relay: Relay) -> Outcome:
        """Carry it."""
        self._relay = relay
        if self._reason is not None:
            relay.cut(self._reason)
        return await relay.run()

    def cut(self, reason: str) -> None:
        """End it, whatever it is doing."""
        self._reason = reason
        if self._relay is not None:
            self._relay.cut(reason)


class LiveConnections:
    """Those of one pod."""

    def __init__(self) -> None:
        self._all: dict[Live, None] = {}

    def __len__(self) -> int:
        return len(self._all)

    @contextmanager
    def registered(self, facts: Facts) -> Iterator[Live]:
        """Hold a connection for the length of the block."""
        live = Live(facts)
        self._all[live] = None
        try:
            yield live
        finally:
            del self._all[live]

    def recheck(self, policies: Compiled) -> list[Decision]:
        """Evaluate all anew and cut those that are denied now; their decisions."""
        denied = []
        for live in list(self._all):
            decision = evaluate(policies, live.facts)
            if not decision.allowed:
                denied.append(decision)
                live.cut(f"{POLICY_CHANGE}: {decision.reason}")
        return denied
