"""Inbound connections that live, so that a change of policy can cut them.

A connection is added before its policies are evaluated: a change in between then finds it, and no
connection slips through that was judged by the old policies and carried under the new ones.
Source: ztunnel src/proxy/connection_manager.rs.

Thousands may have to be judged anew at once. That is done in slices, between which traffic has its turn.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from time import monotonic
from typing import Protocol

from proxy.listeners.verdict import Denied
from proxy.rbac import Compiled, Decision, Facts, evaluate
from proxy.relay.outcome import Outcome
from proxy.tasks import Tasks
from proxy.telemetry import ConnectionRecord

log = logging.getLogger("proxy.listeners")

POLICY_CHANGE = "connection closed due to policy change"
"""ztunnel's words."""
SLICE_S = 0.0003
"""How long traffic waits while connections are judged: a third of what a request takes through a proxy."""
PAUSE_S = 0.001
"""What traffic has to itself after a cut; the shortest that epoll knows."""
SPREAD_S = 0.75
"""Over which many cuts are spread: most of the second that they may take. Each costs both proxies 0.25 ms."""


class Relay(Protocol):
    """What carries a connection's bytes."""

    async def run(self) -> Outcome:
        """Until it is over."""

    def cut(self, reason: str) -> None:
        """End it now."""


class Live:
    """One connection, from before its policies are evaluated to its end."""

    __slots__ = ("_decision", "_record", "_relay", "facts")

    def __init__(self, facts: Facts, record: ConnectionRecord) -> None:
        self.facts = facts
        self._record = record
        self._relay: Relay | None = None
        self._decision: Decision | None = None

    def check(self) -> None:
        """Raise Denied when it was cut while it was still being connected."""
        if self._decision is not None:
            raise Denied(self._decision)

    async def run(self, relay: Relay) -> Outcome:
        """Carry it."""
        self._relay = relay
        if self._decision is not None:
            relay.cut(self._decision.reason)
        return await relay.run()

    def cut(self, decision: Decision) -> None:
        """End it, whatever it is doing."""
        self._decision = replace(decision, reason=f"{POLICY_CHANGE}: {decision.reason}")
        self._record.policy = decision.policy
        if self._relay is not None:
            self._relay.cut(self._decision.reason)


class LiveConnections:
    """Those of one pod."""

    def __init__(self) -> None:
        self._all: dict[Live, None] = {}

    def __len__(self) -> int:
        return len(self._all)

    @contextmanager
    def registered(self, facts: Facts, record: ConnectionRecord) -> Iterator[Live]:
        """Hold a connection for the length of the block."""
        live = Live(facts, record)
        self._all[live] = None
        try:
            yield live
        finally:
            del self._all[live]

    async def recheck(self, policies: Compiled, stale: Callable[[], bool]) -> int:
        """Evaluate all anew and cut those that are denied now; how many those were.

        Those that are added meanwhile are judged by these policies already.

        Args:
            policies: Those in force.
            stale: Whether they are that no more; then the rest is left for the next time.
        """
        denied: list[tuple[Live, Decision]] = []
        began = monotonic()
        for live in tuple(self._all):
            decision = evaluate(policies, live.facts)
            if not decision.allowed:
                denied.append((live, decision))
            if monotonic() - began > SLICE_S:
                await asyncio.sleep(0)
                if stale():
                    return 0
                began = monotonic()
        pace_s = min(PAUSE_S, SPREAD_S / max(1, len(denied)))
        began = monotonic()
        for count, (live, decision) in enumerate(denied, start=1):
            if live in self._all:
                live.cut(decision)
            ahead = monotonic() - began < pace_s * count
            await asyncio.sleep(PAUSE_S if ahead else 0)
            if stale():
                return count
        return len(denied)


class Review:
    """Has a pod's live connections judged anew when other policies are in force for it."""

    def __init__(
        self, live: LiveConnections, tasks: Tasks, policies: Callable[[], Compiled | None], *, name: str
    ) -> None:
        """`policies` says which are in force now: None while the pod's own workload is not known."""
        self._live = live
        self._tasks = tasks
        self._policies = policies
        self._name = name
        self._judged: Compiled | None = None
        self._running = False

    def changed(self) -> None:
        """Something that decides about connections may have changed."""
        if self._running or self._policies() in (None, self._judged):
            return
        self._running = True
        self._tasks.start(self._run(), name=f"review {self._name}")

    async def _run(self) -> None:
        try:
            while (policies := self._policies()) is not None and policies is not self._judged:
                await self._judge(policies)
        finally:
            self._running = False

    async def _judge(self, policies: Compiled) -> None:
        """By these, or by as much of them as was done when others came: then there is a next turn."""
        cut = await self._live.recheck(policies, lambda: self._policies() is not policies)
        self._judged = policies
        if cut:
            log.info("policy change pod=%s cut=%d live=%d", self._name, cut, len(self._live))
