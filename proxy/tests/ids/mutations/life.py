"""P01 to P48: background tasks, pods, admission and identity."""

from __future__ import annotations

from typing import Any

from proxy.tasks import Supervisor
from proxy.tests.ids.mutations.mutation import Mutation, wrap


def _no_fence() -> None:
    """Background work that fails ends the group that it runs in."""

    async def supervise(_original: Any, _self: Any, work: Any, _name: str) -> None:
        await work()

    wrap(Supervisor, "_supervise", supervise)


MUTATIONS = [
    Mutation(id="P01", guard="the fence around background work", apply=_no_fence),
]
