"""The labels of ztunnel's traffic metrics, from a connection's record. What is not known is `unknown`."""

from __future__ import annotations

from proxy.identity.spiffe import SpiffeId
from proxy.state.model import Workload
from proxy.telemetry.record import ConnectionRecord, Direction, Flag

_END = (
    "workload",
    "canonical_service",
    "canonical_revision",
    "workload_namespace",
    "principal",
    "app",
    "version",
    "cluster",
)
NAMES = (
    "reporter",
    *(f"source_{name}" for name in _END),
    "destination_service",
    "destination_service_namespace",
    "destination_service_name",
    *(f"destination_{name}" for name in _END),
    "request_protocol",
    "response_flags",
    "connection_security_policy",
)
"""In ztunnel's order (proxy/metrics.rs CommonTrafficLabels); the optional locality is left out."""

UNKNOWN = "unknown"
Labels = tuple[str, ...]


def reporter(direction: Direction) -> str:
    """Which end of the connection this proxy speaks for."""
    return "source" if direction is Direction.OUTBOUND else "destination"


def labels(record: ConnectionRecord, flag: Flag) -> Labels:
    """Values for `NAMES`."""
    service = record.service
    return (
        reporter(record.direction),
        *_end(record.source, record.source_identity),
        service.hostname if service is not None else UNKNOWN,
        service.namespace if service is not None else UNKNOWN,
        service.name if service is not None else UNKNOWN,
        *_end(record.destination, record.destination_identity),
        "tcp",
        flag.value,
        "mutual_tls" if record.mutual_tls else UNKNOWN,
    )


def _end(workload: Workload | None, identity: SpiffeId | None) -> Labels:
    """One end's values for `_END`. The principal is what TLS proved, never what the mesh says."""
    principal = str(identity) if identity is not None else UNKNOWN
    if workload is None:
        namespace = identity.namespace if identity is not None else UNKNOWN
        return (UNKNOWN, UNKNOWN, UNKNOWN, namespace, principal, UNKNOWN, UNKNOWN, UNKNOWN)
    service = workload.canonical_name or UNKNOWN
    revision = workload.canonical_revision or UNKNOWN
    return (
        workload.workload_name or UNKNOWN,
        service,
        revision,
        workload.namespace,
        principal,
        service,
        revision,
        workload.cluster or UNKNOWN,
    )
