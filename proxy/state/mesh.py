"""The mesh at one moment: an immutable snapshot, indexed for the questions that connections ask."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

from proxy.background import breathing
from proxy.identity.spiffe import SpiffeId
from proxy.rbac import Compiled, Policy
from proxy.state.applying import Applying, Unloaded
from proxy.state.model import IPAddress, IPNetwork, NetworkMode, Service, Workload


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A claim on an address by a rejected workload or service.

    Connections there are refused: to guess them out of the mesh would send their traffic in plaintext.
    """

    reason: str
    pod: bool = False
    """Whether a pod claims it, which counts for more than what any other workload says."""

    def outranks(self, workload: Workload) -> bool:
        """Whether the address is rather the rejected resource's, which may have been of the mesh."""
        not_a_pod, not_hbone, _ = workload.precedence
        return (not self.pod, False) < (not_a_pod, not_hbone)


class _Length(NamedTuple):
    """Of blocks: those of one are found by the first bits of an address."""

    network: str
    version: int
    prefix: int

    def bits(self, address: IPAddress) -> int:
        """What an address of that version has in common with all others of its block."""
        return int(address) >> (address.max_prefixlen - self.prefix)


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
        unusable: Mapping[tuple[str, IPAddress], Unusable] = MappingProxyType({}),
        unusable_blocks: Iterable[tuple[str, IPNetwork, Unusable]] = (),
        encoded: Mapping[str, Mapping[str, bytes]] = MappingProxyType({}),
        previous: MeshState | None = None,
        aliases: frozenset[str] = frozenset(),
    ) -> None:
        """Index.

        Args:
            version: Grows with each snapshot.
            workloads: Of unique uid; several may claim one address.
            services: Of unique key.
            policies: Of unique key.
            rejections: What the document had besides.
            unloaded: Policies that must be assumed to deny.
            unusable: (network, address) of rejected workloads and services.
            unusable_blocks: (network, block) of rejected services.
            encoded: Section -> key -> what the resource was made of: to tell whether it has changed.
            previous: The snapshot before: what was compiled and has not changed is used again.
            aliases: Trust domains that are names of one and the same.
        """
        self.version = version
        self.workloads = {workload.key: workload for workload in breathing(workloads)}
        self.services = {service.key: service for service in breathing(services)}
        self.policies = {policy.key: policy for policy in breathing(policies)}
        self.rejections = tuple(rejections)
        self.unloaded = tuple(unloaded)
        self.unusable = dict(unusable)
        self.unusable_blocks = tuple(unusable_blocks)
        self.encoded = encoded
        self.aliases = aliases
        self._by_address: dict[tuple[str, IPAddress], Workload] = {}
        self._by_pod: defaultdict[tuple[str, str, str], list[Workload]] = defaultdict(list)
        endpoints: defaultdict[str, list[Endpoint]] = defaultdict(list)
        for workload in breathing(self.workloads.values()):
            if workload.network_mode is not NetworkMode.HOST_NETWORK:
                for address in workload.addresses:
                    self._claim(workload, (workload.network, address))
            self._by_pod[workload.namespace, workload.name, workload.service_account].append(workload)
            for key, ports in workload.services.items():
                endpoints[key].append(Endpoint(workload, ports))
        self._endpoints = {key: tuple(found) for key, found in endpoints.items()}
        self._by_hostname: defaultdict[str, list[Service]] = defaultdict(list)
        self._by_vip: defaultdict[tuple[str, IPAddress], list[Service]] = defaultdict(list)
        for service in breathing(self.services.values()):
            self._by_hostname[service.hostname.lower()].append(service)
            for vip in service.vips:
                self._by_vip[vip].append(service)
        self._by_block: defaultdict[_Length, defaultdict[int, list[Service]]] = defaultdict(
            lambda: defaultdict(list)
        )
        for service in breathing(self.services.values()):
            for network, block in service.cidr_vips:
                length = _Length(network, block.version, block.prefixlen)
                self._by_block[length][length.bits(block.network_address)].append(service)
        self.applying: Applying = Applying(
            self.policies, self.unloaded, previous=previous.applying if previous is not None else None
        )

    def _claim(self, workload: Workload, place: tuple[str, IPAddress]) -> None:
        """Give a workload an address, unless somebody of more right has it."""
        rejected = self.unusable.get(place)
        if rejected is not None and rejected.outranks(workload):
            return
        holder = self._by_address.get(place)
        if holder is None or workload.precedence < holder.precedence:
            self._by_address[place] = workload

    def workload_at(self, address: IPAddress, network: str = "") -> Workload | None:
        """The workload with that address of its own: of several the one that takes precedence."""
        return self._by_address.get((network, address))

    def workload_named(
        self, *, namespace: str, name: str, service_account: str, node: str = ""
    ) -> Workload | None:
        """The workload of a pod.

        Args:
            namespace: The pod's.
            name: The pod's.
            service_account: The pod's.
            node: Where the pod runs; empty: anywhere. Another cluster of the mesh may have a pod of the
                same names.

        Source: ztunnel state/workload.rs find_by_info.
        """
        namesakes = self._by_pod.get((namespace, name, service_account), ())
        return min(
            (workload for workload in namesakes if node in ("", workload.node)),
            key=lambda workload: workload.precedence,
            default=None,
        )

    def service_at(self, address: IPAddress, network: str = "", *, namespace: str = "") -> Service | None:
        """The service with that virtual address, or around it a block of them.

        Args:
            address: The address.
            network: Where it is meant.
            namespace: The asker's: services that it may not see are passed over. Where several share the
                address, its own come first, then canonical ones, then the first by key; of blocks, its
                own, then the narrowest, then canonical ones.

        Source: ztunnel state/service.rs get_best_by_vip, get_best_by_cidr_vip.
        """
        sharing = self._by_vip.get((network, address))
        if sharing is not None:
            best = _best(sharing, namespace)
            if best is not None:
                return best
        if not self._by_block:
            return None
        around = [
            (service.namespace != namespace, -length.prefix, not service.canonical, service.key)
            for length, blocks in self._by_block.items()
            if (length.network, length.version) == (network, address.version)
            for service in blocks.get(length.bits(address), ())
            if service.visible_to(namespace)
        ]
        return self.services[min(around)[-1]] if around else None

    def service_named(self, hostname: str, *, namespace: str = "", preferred: str = "") -> Service | None:
        """The service of that name in any case.

        Args:
            hostname: In full; a dot at its end changes nothing.
            namespace: The asker's; as for `service_at`.
            preferred: The namespace whose service comes behind canonical ones.

        Source: ztunnel state/service.rs find_best_match, as its DNS server calls it.
        """
        sharing = self._by_hostname.get(hostname.lower().removesuffix("."), ())
        return _best(sharing, namespace, preferred)

    def unusable_at(self, address: IPAddress, network: str = "") -> Unusable | None:
        """What claims an address and was rejected."""
        claim = self.unusable.get((network, address))
        if claim is not None:
            return claim
        around = (
            claim for where, block, claim in self.unusable_blocks if where == network and address in block
        )
        return next(around, None)

    def endpoints(self, service: Service) -> tuple[Endpoint, ...]:
        """The workloads that say they serve it."""
        return self._endpoints.get(service.key, ())

    def policies_for(self, workload: Workload) -> Compiled:
        """The policies that decide who may connect to the workload.

        Compiled once. The answer is the same object as the previous snapshot's while nothing that
        applies to the workload has changed.
        """
        return self.applying.to(
            workload.namespace, workload.authorization_policies, self.trusted_by(workload)
        )

    def trusted_by(self, workload: Workload) -> frozenset[str]:
        """The trust domains whose identities may connect to the workload: its own and its aliases."""
        own = workload.trust_domain
        return self.aliases if own in self.aliases else frozenset((own,))

    def identities_of(self, workload: Workload) -> frozenset[str]:
        """The SPIFFE ids, written, of which a workload's proxy must prove one."""
        if workload.trust_domain not in self.aliases:
            return workload.own_identity
        return frozenset(
            str(SpiffeId(alias, workload.namespace, workload.service_account)) for alias in self.aliases
        )

    def prepare(self, node: str) -> None:
        """Compile the policies of a node's workloads, which is not for a connection to wait for."""
        for workload in self.workloads.values():
            if workload.node == node:
                self.policies_for(workload)


def _best(sharing: Sequence[Service], namespace: str, preferred: str = "") -> Service | None:
    """Of services that share an address or a name, the one that an asker of a namespace means."""
    if len(sharing) == 1:
        return sharing[0] if sharing[0].visible_to(namespace) else None
    return min(
        (service for service in sharing if service.visible_to(namespace)),
        key=lambda service: (
            service.namespace != namespace,
            not service.canonical,
            service.namespace != preferred,
            service.key,
        ),
        default=None,
    )
