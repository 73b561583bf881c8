"""What a workload says of itself in the `baggage` header: telemetry for the other side's proxy."""

from __future__ import annotations

from functools import lru_cache

from proxy.state.model import Workload

_KINDS = frozenset({"deployment", "pod", "job", "cronjob"})


@lru_cache(maxsize=256)
def baggage(workload: Workload) -> str:
    """`k8s.cluster.name=...,k8s.namespace.name=...`, without what is not known.

    Source: ztunnel src/baggage.rs.
    """
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
