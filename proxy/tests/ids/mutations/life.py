"""P01 to P48: background tasks, pods, admission and identity."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from typing import Any

from proxy.admission import Admission
from proxy.identity import chain
from proxy.listeners.inbound import Inbound
from proxy.tasks import Supervisor
from proxy.tests.ids.mutations.mutation import Mutation, wrap


def _no_fence() -> None:
    """Background work that fails ends the group that it runs in."""

    async def supervise(_original: Any, _self: Any, work: Any, _name: str) -> None:
        await work()

    wrap(Supervisor, "_supervise", supervise)


def _streams_are_no_connections() -> None:
    """Each CONNECT counts against limits of its own, which are endless."""

    async def answer(original: Any, self: Inbound, *given: Any) -> None:
        uncounted = copy(self)
        uncounted._context = replace(self._context, admission=Admission())
        await original(uncounted, *given)

    wrap(Inbound, "_answer", answer)


def _anything_is_an_authority() -> None:
    wrap(chain, "_may_issue", lambda _original, _certificate: True)


def _endless_checks() -> None:
    chain.MAX_CHECKS = 2**31


MUTATIONS = [
    Mutation(id="P01", guard="the fence around background work", apply=_no_fence),
    Mutation(id="P10", guard="streams count as connections", apply=_streams_are_no_connections),
    Mutation(id="P18", guard="anchors are authorities", apply=_anything_is_an_authority),
    Mutation(id="P48", guard="signatures looked at", apply=_endless_checks),
]
