"""Our own proxy, one process per node and lane in a network namespace of its own, as ztunnel runs."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harness.engines.api import Member, Mount, Role
from harness.topology.layout import Layout
from harness.topology.model import TRUST_DOMAIN, Topology

CARRIES = True
ONLY: Mapping[str, str | int] = {}
LACKS: Mapping[str, str] = {}
REMARKS: tuple[str, ...] = ()

CAPABILITIES = {
    "NET_ADMIN": "set SO_MARK and IP_TRANSPARENT on sockets in the pods' network namespaces",
    "NET_RAW": "bind sockets to the client's address (IP_TRANSPARENT) where NET_ADMIN does not cover it",
    "SYS_ADMIN": "enter the pods' network namespaces (setns) whose descriptors came over ZDS",
}


def enrols(node: str) -> bool:  # noqa: ARG001  # the slot's signature
    """It enters the pods by the descriptors that come over ZDS."""
    return True


def members(topology: Topology, layout: Layout, *, lane: int, nodes: Collection[str]) -> tuple[Member, ...]:
    """One proxy per node."""
    return tuple(
        Member(
            name=f"ztunnel-{lane}-{node}",
            role=Role.ZTUNNEL,
            node=node,
            lane=lane,
            image="ztunnel",
            namespace=f"ztunnel-{lane}-{node}",
            command=("python3", "-m", "proxy"),
            env={
                "NODE_NAME": node,
                "TRUST_DOMAIN": TRUST_DOMAIN,
                "LOCAL_XDS_PATH": str(layout.mesh(lane)),
                "INPOD_UDS": str(layout.zds(node, lane)),
                "CA_ADDRESS": f"unix://{layout.ca(node, lane)}",
                "IPV6_ENABLED": "true" if topology.ipv6 else "false",
                "PYZTUNNEL_CONTROL_SOCKET": str(layout.proxy(node, lane)),
                "PYZTUNNEL_BENCH_SOCKET": str(layout.bench(node, lane)),
            },
            mounts=(
                Mount(path=layout.mesh(lane).parent, writable=False),
                Mount(path=layout.zds(node, lane).parent),
                Mount(path=layout.ca(node, lane).parent),
                Mount(path=layout.proxy(node, lane).parent),
                Mount(path=layout.bench(node, lane).parent),
            ),
            capabilities=CAPABILITIES,
        )
        for node in nodes
    )
