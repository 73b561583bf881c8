"""The mesh at one moment: an immutable snapshot, indexed for the questions that connections ask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from proxy.background import breathing
from proxy.rbac import Compiled, Policy
from proxy.state.applying import Applying, Unloaded
from proxy.state.model import IPAddress, NetworkMode, Service, Workload


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A workload of a service, with its ports for it."""

    workload: Workload
    ports: Mapping[int, int]
    """Service port -> port of the workload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """A resource of the document that could not be used."""

    kind: str
    """workload, service or policy"""
    key: str
    """uid, `namespace/hostname` or `namespace/name`; its place where it has no readable name."""
    reason: str
    kept: bool
    """Whether its previous version stays in force."""


class MeshState:
    """Workloads, services and policies of one version. Nothing in it changes."""

    def __init__(
        self,
        *,
        version: int = 0,
        workloads: Iterable[Workload] = (),
        services: Iterable[Service] = (),
        policies: Iterable[Policy] = (),
        rejections: Iterable[Rejection] = (),
        unloaded: Iterable[Unloaded] = (),
        unusable: Mapping[tuple[str, IPAddress], str] = MappingProxyType({}),
        written: Mapping[str, Mapping[str, str]] = MappingProxyType({}),
        previous: MeshState | None = None,
    ) -> None:
        """Index.

        Args:
            version: Grows with each snapshot.
            workloads: Of unique uid; where addresses overlap, the last one has them.
            services: Of unique key.
            policies: Of unique key.
            rejections: What the document had besides.
            unloaded: Policies that must be assumed to deny.
            unusable: (network, address) of rejected workloads and services -> why. Connections there are
                refused: to guess them out of the mesh would send their traffic in plaintext.
            written: Section -> key -> the resource's text, in the order of the document.
            previous: The snapshot before: what was compiled and has not changed is used again.
        """
        self.version = version
        self.workloads = {workload.key: workload for workload in breathing(workloads)}
        self.services = {service.key: service for service in breathing(services)}
        self.policies = {policy.key: policy for policy in breathing(policies)}
        self.rejections = tuple(rejections)
        self.unloaded = tuple(unloaded)
        self.unusable = dict(unusable)
        self.written = written
        self._by_address: dict[tuple[str, IPAddress], Workload] = {}
        self._by_pod: dict[tuple[str, str, str], Workload] = {}
        endpoints: defaultdict[str, list[Endpoint]] = defaultdict(list)
        for workload in breathing(self.workloads.values()):
            if workload.network_mode is not NetworkMode.HOST_NETWORK:
                self._by_address.update(
                    {(workload.network, address): workload for address in workload.addresses}
                )
            self._by_pod[workload.namespace, workload.name, workload.service_account] = workload
            for key, ports in workload.services.items():
                endpoints[key].append(Endpoint(workload, ports))
        self._endpoints = {key: tuple(found) for key, found in endpoints.items()}
        self._by_hostname: defaultdict[str, list[Service]] = defaultdict(list)
        self._by_vip: defaultdict[tuple[str, IPAddress], list[Service]] = defaultdict(list)
        for service in breathing(self.services.values()):
            self._by_hostname[service.hostname.lower()].append(service)
            for vip in service.vips:
                self._by_vip[vip].append(service)
        self._by_block = [
            (network, block, service)
            for service in self.services.values()
            for network, block in service.cidr_vips
        ]
        self.applying: Applying = Applying(
            self.policies, self.unloaded, previous=previous.applying if previous is not None else None
        )

    def workload_at(self, address: IPAddress, network: str = "") -> Workload | None:
        """The workload with that address of its own."""
        return self._by_address.get((network, address))

    def workload_named(self, *, namespace: str, name: str, service_account: str) -> Workload | None:
        """The workload of a pod."""
        return self._by_pod.get((namespace, name, service_account))

    def service_at(
        self, address: IPAddress, network: str = "", *, namespace: str = "", preferred: str = ""
    ) -> Service | None:
        """The service with that virtual address.

        Args:
            address: The address.
            network: Where it is meant.
            namespace: The asker's. Where several services share the address, its own come first, then
                canonical ones, then those of the `preferred` namespace, then the first in the document.
            preferred: See `namespace`.
        """
        sharing = self._by_vip.get((network, address))
        if sharing is None:
            return self._service_by_block(address, network)
        if len(sharing) == 1:
            return sharing[0]
        tests = (
            lambda service: service.namespace == namespace,
            lambda service: service.canonical,
            lambda service: service.namespace == preferred,
        )
        for test in tests:
            found = next(filter(test, sharing), None)
            if found is not None:
                return found
        return sharing[0]

    def service_named(self, hostname: str, *, namespace: str = "") -> Service | None:
        """The service of that name in any case; the asker's `namespace` first, then canonical ones."""
        sharing = self._by_hostname.get(hostname.lower().removesuffix("."), ())
        return max(
            sharing, key=lambda service: (service.namespace == namespace, service.canonical), default=None
        )

    def _service_by_block(self, address: IPAddress, network: str) -> Service | None:
        """The service with the narrowest block around the address."""
        around = [
            (block.prefixlen, service)
            for where, block, service in self._by_block
            if where == network and address in block
        ]
        return max(around, key=lambda found: found[0])[1] if around else None

    def endpoints(self, service: Service) -> tuple[Endpoint, ...]:
        """The workloads that say they serve it."""
        return self._endpoints.get(service.key, ())

    def policies_for(self, workload: Workload) -> Compiled:
        """The policies that decide who may connect to the workload.

        Compiled once. The answer is the same object as the previous snapshot's while nothing that
        applies to the workload has changed.
        """
        return self.applying.to(workload.namespace, workload.authorization_policies, workload.trust_domain)

    def prepare(self, node: str) -> None:
        """Compile the policies of a node's workloads, which is not for a connection to wait for."""
        for workload in self.workloads.values():
            if workload.node == node:
                self.policies_for(workload)
