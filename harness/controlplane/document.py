"""The mesh document: who is in the mesh, in the shape that ztunnel reads from LOCAL_XDS_PATH.

Hosts are left out on purpose: the mesh does not know them, so the proxy passes their traffic through.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from harness.topology.canary import NAME, canary
from harness.topology.model import APP_PORT, TRUST_DOMAIN, IPAddress, Pod, PolicySpec, Topology

SCOPES = ("Global", "Namespace", "WorkloadSelector")
ACTIONS = ("Allow", "Deny")
ROOT_NAMESPACE = "istio-system"
"""Where policies of the whole mesh live. Source: istio meshConfig.rootNamespace, its default."""
CLUSTER_ID = "Kubernetes"
"""Istio's default cluster name, as in `Pod.uid`."""


class BadPolicy(ValueError):
    """A policy that no proxy could apply; the message names policy, key and what is allowed."""


def document(topology: Topology) -> dict[str, Any]:
    """The mesh document of a topology.

    Every pod is a workload: captured ones speak HBONE, the others plain TCP. The one service is the canary.
    A policy's `pods` (our key,
    not ztunnel's: a `WorkloadSelector` policy must say whom it is attached to) turns into the workloads'
    `authorizationPolicies`.

    Returns:
        JSON-serialisable; keys `workloads`, `policies`, `services`, spelled as ztunnel spells them.

    Raises:
        BadPolicy: A policy without a needed key, with an unknown word, or attached to an unknown pod.

    Source: ztunnel examples/localhost.yaml and src/state/workload.rs; unknown keys are errors there.
    """
    attached: dict[str, list[str]] = {pod.name: [] for pod in topology.pods}
    policies = []
    for spec in topology.policies:
        policy, pods = _policy(spec)
        for name in pods:
            if name not in attached:
                known = ", ".join(sorted(attached))
                raise BadPolicy(f"policy {spec.name}: pods names {name!r}, which is no pod; pods: {known}")
            attached[name].append(f"{policy['namespace']}/{policy['name']}")
        policies.append(policy)
    services = _services(topology)
    return {
        "workloads": [
            _workload(pod, attached[pod.name], [each for each in services if pod in each.endpoints])
            for pod in topology.pods
        ],
        "policies": policies,
        "services": [_service(each) for each in services],
    }


class _Service(NamedTuple):
    """What the mesh has to know of a service, the topology's own and the canary alike."""

    name: str
    namespace: str
    hostname: str
    key: str
    addresses: tuple[IPAddress, ...]
    ports: dict[str, int]
    """The service's port -> the endpoints'."""
    endpoints: tuple[Pod, ...]


def _services(topology: Topology) -> list[_Service]:
    found = [
        _Service(
            name=each.name,
            namespace=each.namespace,
            hostname=each.hostname,
            key=each.key,
            addresses=(each.address,),
            ports={str(APP_PORT): APP_PORT},
            endpoints=each.endpoints,
        )
        for each in topology.services
    ]
    bird = canary(topology)
    if bird is not None:
        found.append(
            _Service(
                name=NAME,
                namespace=bird.pod.namespace,
                hostname=bird.hostname,
                key=bird.key,
                addresses=bird.addresses,
                ports=bird.ports,
                endpoints=(bird.pod,),
            )
        )
    return found


def _service(service: _Service) -> dict[str, Any]:
    """Source: ztunnel src/state/service.rs; a vip is `network/address`, and the network here has no name."""
    return {
        "name": service.name,
        "namespace": service.namespace,
        "hostname": service.hostname,
        "vips": [f"/{address}" for address in service.addresses],
        "ports": service.ports,
    }


def _workload(pod: Pod, policies: list[str], services: Sequence[_Service]) -> dict[str, Any]:
    return {
        "uid": pod.uid,
        "name": pod.name,
        "namespace": pod.namespace,
        "trustDomain": TRUST_DOMAIN,
        "serviceAccount": pod.service_account,
        "workloadName": pod.name,
        "workloadType": "pod",
        "canonicalName": pod.name,
        "canonicalRevision": "latest",
        "clusterId": CLUSTER_ID,
        "network": "",
        "node": pod.node,
        "workloadIps": [str(pod.address_of(family)) for family in pod.families],
        "protocol": "HBONE" if pod.captured else "TCP",
        "authorizationPolicies": policies,
        # required by ztunnel even when empty
        "services": {service.key: service.ports for service in services},
    }


def _policy(spec: PolicySpec) -> tuple[dict[str, Any], list[str]]:
    policy: dict[str, Any] = {"name": spec.name, "dryRun": False, **spec.document}
    pods = policy.pop("pods", [])
    for key in ("namespace", "scope", "action", "rules"):
        if key not in policy:
            raise BadPolicy(f"policy {spec.name}: key {key!r} is missing")
    for key, words in (("scope", SCOPES), ("action", ACTIONS)):
        if policy[key] not in words:
            raise BadPolicy(f"policy {spec.name}: {key} is {policy[key]!r}; allowed: {', '.join(words)}")
    if not isinstance(pods, list):
        raise BadPolicy(f"policy {spec.name}: pods is {pods!r}; expected a list of pod names")
    if bool(pods) != (policy["scope"] == "WorkloadSelector"):
        raise BadPolicy(
            f"policy {spec.name}: scope {policy['scope']} with pods {pods}; "
            "WorkloadSelector needs at least one pod, the other scopes take none"
        )
    if policy["scope"] == "Global":
        policy["namespace"] = policy["namespace"] or ROOT_NAMESPACE
    return policy, pods
