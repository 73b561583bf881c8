"""`/config_dump`: what the proxy goes by, in the shape that `istioctl ztunnel-config` reads.

Everything is written beside the traffic from values that do not change, a resource at a time. Ours beyond
ztunnel's is under `pyztunnel`.
Source: ztunnel src/admin.rs, src/inpod/admin.rs, src/proxy/connection_manager.rs.
"""

from __future__ import annotations

import base64
import json
import ssl
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from proxy.admin.resources import Json, camel, endpoints, policy, ports_of, service, staged, workload
from proxy.background import breathing
from proxy.config import Settings
from proxy.identity.identities import Standing
from proxy.inpod.api import PodInfo
from proxy.state.mesh import MeshState
from proxy.state.model import authority
from proxy.telemetry import ConnectionRecord, Direction
from proxy.version import VERSION

Owner = tuple[str, str, str]
"""Namespace, name and service account of a pod."""

CONFIG = {
    "node": "localNode",
    "cluster": "clusterId",
    "preferred_service_namespace": "preferedServiceNamespace",
    "ca_hostname": "altCaHostname",
    "ca_root": "caRootCert",
    "zds_socket": "inpodUds",
    "port_reuse": "inpodPortReuse",
    "ipv6": "ipv6Enabled",
    "max_streams": "poolMaxStreamsPerConn",
    "stream_window_bytes": "windowSize",
    "connection_window_bytes": "connectionWindowSize",
    "frame_bytes": "frameSize",
    "response_baggage": "enableEnhancedBaggage",
}
"""Settings that ztunnel knows under another name. The rest are as they are here, in camel case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """All that a dump shows."""

    settings: Settings
    switches: Mapping[str, object]
    state: MeshState
    certificates: Iterable[Standing]
    pods: Iterable[tuple[PodInfo, bool]]
    """And whether they are served by now."""
    live: Iterable[ConnectionRecord]


def pieces(snapshot: Snapshot) -> Iterator[str]:
    """The document; never a key."""
    state = snapshot.state
    sections: dict[str, Iterable[str]] = {
        "certificates": _list(map(certificate, snapshot.certificates)),
        "config": _text(config(snapshot.settings)),
        "policies": _list(map(policy, state.policies.values())),
        "pyztunnel": _text(
            {
                "meshVersion": state.version,
                "rejections": [asdict(rejection) for rejection in state.rejections],
                "switches": dict(snapshot.switches),
            }
        ),
        "services": _list(service(each, endpoints(state, each)) for each in state.services.values()),
        "stagedServices": _map(staged(state).items()),
        "staticConfig": _static(state if snapshot.settings.mesh_document is not None else MeshState()),
        "version": _text(version()),
        "workloadState": _map(pod_states(snapshot.pods, snapshot.live)),
        "workloads": _list(
            {**workload(each), **({"services": sorted(each.services)} if each.services else {})}
            for each in state.workloads.values()
        ),
    }
    before = "{\n"
    for name, text in sections.items():
        yield f"{before}{json.dumps(name)}: "
        yield from text
        before = ",\n"
    yield "\n}\n"


def certificate(standing: Standing) -> Json:
    """An identity's certificates as they stand."""
    held, state = standing.certificate, "Available"
    if held is None:
        state = "Initializing" if standing.failure is None else f"Unavailable: {standing.failure}"
    roots = x509.load_pem_x509_certificates(held.roots_pem.encode()) if held is not None else []
    chain = x509.load_pem_x509_certificates(held.chain_pem) if held is not None else []
    return {
        "identity": str(standing.identity),
        "state": state,
        "certChain": [_certificate(each) for each in chain if each not in roots],
        "rootCerts": [_certificate(each) for each in roots],
    }


def _certificate(each: x509.Certificate) -> Json:
    return {
        "pem": base64.b64encode(each.public_bytes(Encoding.PEM)).decode(),
        "serialNumber": str(each.serial_number),
        "validFrom": _moment(each.not_valid_before_utc),
        "expirationTime": _moment(each.not_valid_after_utc),
    }


def _moment(when: datetime) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%SZ}"


def config(settings: Settings) -> Json:
    """The settings, by ztunnel's names where it has them."""
    given = {field.name: getattr(settings, field.name) for field in fields(settings)}
    return {CONFIG.get(name, camel(name)): value for name, value in given.items()}


def version() -> Json:
    """What runs; a wheel knows of no revision and no build."""
    unknown = "unknown"
    return {
        "version": VERSION,
        "gitRevision": unknown,
        "buildProfile": unknown,
        "buildStatus": unknown,
        "istioVersion": unknown,
        "cryptoProvider": ssl.OPENSSL_VERSION,
    }


def pod_states(
    pods: Iterable[tuple[PodInfo, bool]], live: Iterable[ConnectionRecord]
) -> Iterator[tuple[str, Json]]:
    """The pods of this node by uid, with their connections of now."""
    connections: defaultdict[Owner, Json] = defaultdict(lambda: {"inbound": [], "outbound": []})
    for record in breathing(live):
        own = record.source if record.direction is Direction.OUTBOUND else record.destination
        if own is not None:
            side = connections[own.namespace, own.name, own.service_account]
            side[record.direction.value].append(_connection(record))
    for pod, served in pods:
        info = {"name": pod.name, "namespace": pod.namespace, "serviceAccount": pod.service_account}
        shown: Json = {"info": info, "state": "Up" if served else "Pending"}
        if served:
            shown["connections"] = connections[pod.namespace, pod.name, pod.service_account]
        yield pod.uid, shown


def _connection(record: ConnectionRecord) -> Json:
    far = record.destination_address
    actual = authority(far) if far is not None else None
    original: str | None
    if record.direction is Direction.OUTBOUND:
        original = authority(record.dialled) if record.dialled is not None else actual
    else:
        original = record.service.hostname if record.service is not None else None
        actual = record.hbone_address or actual
    return {
        "src": authority(record.source_address),
        "originalDst": original,
        "actualDst": actual,
        "protocol": "HBONE" if record.hbone_address is not None else "TCP",
    }


def _static(state: MeshState) -> Iterator[str]:
    """The mesh document, where there is one: endpoints are in it as their workloads' services."""
    yield '{\n"policies": '
    yield from _list(map(policy, state.policies.values()))
    yield ',\n"services": '
    yield from _list(service(each, {}) for each in state.services.values())
    yield ',\n"workloads": '
    yield from _list(
        {**workload(each), "services": {key: ports_of(ports) for key, ports in each.services.items()}}
        for each in state.workloads.values()
    )
    yield "\n}"


def _text(value: object) -> Iterator[str]:
    yield json.dumps(value, indent=2, default=str)


def _list(values: Iterable[object]) -> Iterator[str]:
    """One line a value."""
    before = "[\n"
    for value in breathing(values):
        yield before + json.dumps(value)
        before = ",\n"
    yield "[]" if before == "[\n" else "\n]"


def _map(items: Iterable[tuple[str, object]]) -> Iterator[str]:
    """One line an item."""
    before = "{\n"
    for key, value in breathing(items):
        yield f"{before}{json.dumps(key)}: {json.dumps(value)}"
        before = ",\n"
    yield "{}" if before == "{\n" else "\n}"
