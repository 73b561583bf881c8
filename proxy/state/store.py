"""The mesh as it is now, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable

from proxy.state.mesh import MeshState
from proxy.state.model import Workload


class NotReady(Exception):
    """The mesh's state, or a pod's own workload, is not known yet."""


class MeshStore:
    """The current snapshot. `state` is replaced as a whole; whoever holds one keeps a consistent view."""

    state: MeshState

    async def ready(self, timeout_s: float) -> MeshState:
        """The current state, as soon as there is one; NotReady after `timeout_s`."""
        raise NotImplementedError

    async def workload(
        self, *, namespace: str, name: str, service_account: str, timeout_s: float
    ) -> Workload:
        """A pod's own workload, as soon as it is known; NotReady after `timeout_s`."""
        raise NotImplementedError

    def subscribe(self, changed: Callable[[MeshState], None]) -> Callable[[], None]:
        """Call `changed` after each replacement; the answer ends the subscription."""
        raise NotImplementedError
