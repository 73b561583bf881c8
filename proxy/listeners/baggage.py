"""What a workload says of itself in the `baggage` header: telemetry for the other side's proxy.

Source: ztunnel src/baggage.rs.
"""

from __future__ import annotations

from functools import lru_cache

from proxy.state.model import Workload
from proxy.telemetry.record import Claims

_KINDS = frozenset({"deployment", "pod", "job", "cronjob"})
_MEMBERS = {
    "k8s.cluster.name": "cluster",
    "k8s.namespace.name": "namespace",
    **{f"k8s.{kind}.name": "workload_name" for kind in _KINDS},
    "service.name": "canonical_name",
    "service.version": "canonical_revision",
    "cloud.region": "region",
    "cloud.availability_zone": "zone",
}
LONGEST = 253
"""Of a claim that is taken: what a name in Kubernetes may have (RFC 1123)."""


@lru_cache(maxsize=256)
def baggage(workload: Workload) -> str:
    """`k8s.cluster.name=...,k8s.namespace.name=...`, without what is not known."""
    kind = workload.workload_type.lower()
    members = {
        "k8s.cluster.name": workload.cluster,
        "k8s.namespace.name": workload.namespace,
        f"k8s.{kind if kind in _KINDS else 'pod'}.name": workload.workload_name or workload.name,
        "service.name": workload.canonical_name,
        "service.version": workload.canonical_revision,
        "cloud.region": workload.locality.region,
        "cloud.availability_zone": workload.locality.zone,
    }
    return ",".join(f"{name}={value}" for name, value in members.items() if value)


@lru_cache(maxsize=256)
def claims(header: str | None) -> Claims | None:
    """What a peer's header says, of any text; None where it says nothing."""
    said: dict[str, str] = {}
    for member in (header or "").split(","):
        name, _, value = member.partition(";")[0].partition("=")
        claimed, value = _MEMBERS.get(name.strip()), value.strip()
        if claimed is not None and 0 < len(value) <= LONGEST:
            said[claimed] = value
    return Claims(**said) if said else None
