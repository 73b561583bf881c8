"""Small meshes for tests."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from proxy.state.model import Protocol, Service, Workload


def workload(name: str, address: str = "", **changes: Any) -> Workload:
    """A workload in namespace `ns` with a service account of its own name."""
    given: dict[str, Any] = {
        "uid": f"cluster//Pod/ns/{name}",
        "name": name,
        "namespace": "ns",
        "service_account": name,
        "trust_domain": "cluster.local",
        "addresses": (ip_address(address),) if address else (),
        "protocol": Protocol.HBONE,
        "node": "node-a",
    }
    return Workload(**{**given, **changes})


def service(name: str, vip: str, **changes: Any) -> Service:
    """A service in namespace `ns` that maps port 80 to 8080."""
    given: dict[str, Any] = {
        "name": name,
        "namespace": "ns",
        "hostname": f"{name}.ns.svc.cluster.local",
        "vips": (("", ip_address(vip)),),
        "ports": {80: 8080},
    }
    return Service(**{**given, **changes})
