"""The mesh at one moment: an immutable snapshot, indexed for the questions that connections ask."""

from __future__ import annotations

from proxy.rbac import Compiled
from proxy.state.model import IPAddress, Service, Workload


class MeshState:
    """Workloads, services and policies of one version. Nothing in it changes."""

    version: int

    def workload_at(self, address: IPAddress, network: str = "") -> Workload | None:
        """The workload with that address of its own."""
        raise NotImplementedError

    def workload_named(self, *, namespace: str, name: str, service_account: str) -> Workload | None:
        """The workload of a pod."""
        raise NotImplementedError

    def service_at(self, address: IPAddress, network: str = "", *, namespace: str = "") -> Service | None:
        """The service with that virtual address; where several share it, as seen from `namespace`."""
        raise NotImplementedError

    def policies_for(self, workload: Workload) -> Compiled:
        """The policies that decide who may connect to the workload. Compiled once per snapshot."""
        raise NotImplementedError
