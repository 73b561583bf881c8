"""P03 to P53: who has an address, which texts and addresses compare, whose calls come back."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address, ip_network
from typing import Any

from proxy.identity import peer
from proxy.listeners.dial import Dialer
from proxy.rbac import evaluation
from proxy.state import fields, mesh, policies
from proxy.state.model import Service
from proxy.tests.ids.mutations.mutation import Mutation, wrap


def _the_last_has_it() -> None:
    """Where workloads claim one address, the last of the document has it."""

    def claim(_original: Any, self: Any, workload: Any, place: Any) -> None:
        self._by_address[place] = workload

    wrap(mesh.MeshState, "_claim", claim)


def _everybody_sees_it() -> None:
    """As if no service were for its own namespace alone."""
    wrap(Service, "visible_to", lambda _original, _self, _namespace: True)


def _texts_are_not_looked_at() -> None:
    """A DENY of `*` is taken, and denies nobody."""
    wrap(policies, "_can_match", lambda _original, _match, _parts: True)


def _mapped_is_ipv6() -> None:
    """`::ffff:10.0.0.1` is kept as it is written, and is nobody's address."""
    wrap(fields, "address", lambda _original, value, _where: ip_address(value))
    wrap(fields, "network", lambda _original, value, _where: ip_network(value, strict=False))


def _any_host_name() -> None:
    """What cannot be sent in a header passes the document."""
    wrap(fields, "host_name", lambda _original, value, _where: value)


def _here_is_elsewhere() -> None:
    """A pod's further addresses are taken for somebody else's."""
    wrap(Dialer, "is_local", lambda _original, _self, _address: False)


def _elsewhere_is_here() -> None:
    """What is captured for another host is dialled from the pod."""
    wrap(Dialer, "is_local", lambda _original, _self, _address: True)


def _any_trust_domain() -> None:
    """Whoever the root vouches for is a client."""
    wrap(peer, "verify_client", lambda _original, leaf, _trust_domains: peer.leaf_identity(leaf))


def _workloads_come_first() -> None:
    """A service's address that is a workload's as well is taken for the workload's."""

    def service_at(original: Any, self: Any, address: Any, network: str = "", **given: Any) -> Any:
        return None if self.workload_at(address, network) else original(self, address, network, **given)

    wrap(mesh.MeshState, "service_at", service_at)


def _one_rule_is_all() -> None:
    """Of a policy's rules, the first decides."""

    def rules(original: Any, given: Any, action: Any) -> Any:
        return original([replace(each, rules=each.rules[:1]) for each in given], action)

    wrap(evaluation, "_rules", rules)


MUTATIONS = [
    Mutation(id="P03", guard="a pod before anything else", apply=_the_last_has_it),
    Mutation(id="P07", guard="own ports on any address", apply=_here_is_elsewhere),
    Mutation(id="P14", guard="plaintext for the pod alone", apply=_elsewhere_is_here),
    Mutation(id="P26", guard="services of a namespace", apply=_everybody_sees_it),
    Mutation(id="P27", guard="host names in ASCII", apply=_any_host_name),
    Mutation(id="P49", guard="trust domains", apply=_any_trust_domain),
    Mutation(id="P46", guard="texts that can match", apply=_texts_are_not_looked_at),
    Mutation(id="P47", guard="mapped addresses are IPv4", apply=_mapped_is_ipv6),
    Mutation(id="P52", guard="services before workloads", apply=_workloads_come_first),
    Mutation(id="P53", guard="rules are alternatives", apply=_one_rule_is_all),
]
