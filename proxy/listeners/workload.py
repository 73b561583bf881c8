"""A pod's own workload, as the mesh knows it now."""

from __future__ import annotations

from proxy.inpod.api import PodInfo
from proxy.rbac import Compiled
from proxy.state.mesh import MeshState
from proxy.state.model import Workload
from proxy.state.store import MeshStore


class OwnWorkload:
    """Finds it at once when it is known, and waits for it when it is not."""

    def __init__(self, store: MeshStore, pod: PodInfo, *, node: str, wait_s: float) -> None:
        """Look for the workload of `pod` on `node` (empty: anywhere), for `wait_s` where it is not known."""
        self._store = store
        self._pod = pod
        self._node = node
        self._wait_s = wait_s

    def known(self) -> tuple[MeshState, Workload] | None:
        """The mesh and the workload in it, if both are there."""
        state = self._store.state
        pod = self._pod
        found = state.workload_named(
            namespace=pod.namespace,
            name=pod.name,
            service_account=pod.service_account,
            node=self._node,
        )
        return None if found is None else (state, found)

    def policies(self) -> Compiled | None:
        """What decides who may connect to the workload, if that is known."""
        known = self.known()
        return None if known is None else known[0].policies_for(known[1])

    async def wait(self) -> tuple[MeshState, Workload]:
        """As `known`, as soon as there is something to know.

        Raises:
            NotReady: Not in time. To guess, for example that a destination is out of the mesh,
                would send its traffic in plaintext.
        """
        found = self.known()
        if found is not None:
            return found
        pod = self._pod
        workload = await self._store.workload(
            namespace=pod.namespace,
            name=pod.name,
            service_account=pod.service_account,
            node=self._node,
            timeout_s=self._wait_s,
        )
        return self._store.state, workload
