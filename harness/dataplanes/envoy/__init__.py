"""Envoy with HBONE from its own configuration, one process with one worker per captured pod, as a sidecar.

bootstrap: Envoy's configuration. launch: becomes Envoy, with an identity from the node's authority.
keeper: one per node and lane; answers the bench in the node's name, from books, what Envoy counts in our
words. admin, files: how the two talk.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harness.dataplanes.envoy.bootstrap import STREAM_WINDOW_BYTES, STREAMS_PER_TUNNEL
from harness.engines.api import Member, Mount, Role
from harness.topology.layout import Layout
from harness.topology.model import Topology

CARRIES = True
ONLY: Mapping[str, str | int] = {
    "interception": "redirect",
    "ip_family": "ipv4",
    "reuse": "on",
    "same_node": "hbone",
    "streams_per_tunnel": STREAMS_PER_TUNNEL,
    "window_kib": STREAM_WINDOW_BYTES // 1024,
    "policies": 0,
}
LACKS = {
    "canary": "envoy has no service of the mesh in its configuration, so it cannot answer in one's place",
    "refusal": "envoy enforces no authorization policy here",
}
REMARKS = (
    (
        "one process with one worker per pod, in the pod's own network namespace, as a sidecar runs: on the "
        "same node two processes carry a connection, where a node proxy is one"
    ),
    "authorization policies are not enforced",
    "counts neither route resolutions nor policy evaluations, so these are not checked",
    "a cold tunnel is made by replacing Envoy's clusters, since it has no command to leave a tunnel",
)

CAPABILITIES = {
    "NET_ADMIN": "set SO_MARK and IP_TRANSPARENT on its sockets",
    "NET_RAW": "bind sockets to the client's address (IP_TRANSPARENT) where NET_ADMIN does not cover it",
}


def enrols(node: str) -> bool:  # noqa: ARG001  # the slot's signature
    """Each Envoy is in its pod already."""
    return False


def members(topology: Topology, layout: Layout, *, lane: int, nodes: Collection[str]) -> tuple[Member, ...]:
    """One Envoy per captured pod, one keeper per node."""
    where = ("--lane", str(lane), "--rundir", str(layout.directory))
    sidecars = [
        Member(
            name=f"envoy-{lane}-{pod.name}",
            role=Role.ZTUNNEL,
            node=pod.node,
            lane=lane,
            image="envoy",
            namespace=pod.netns,
            command=("python3", "-m", "harness.dataplanes.envoy.launch", "--pod", pod.name, *where),
            mounts=(
                Mount(path=layout.topology, writable=False),
                Mount(path=layout.ca(pod.node, lane).parent),
                Mount(path=layout.proxy(pod.node, lane).parent),
            ),
            capabilities=CAPABILITIES,
        )
        for pod in topology.pods
        if pod.captured and pod.node in nodes
    ]
    keepers = [
        Member(
            name=f"keeper-{lane}-{node}",
            role=Role.HELPER,
            node=node,
            lane=lane,
            image="envoy",
            namespace=f"keeper-{lane}-{node}",
            command=("python3", "-m", "harness.dataplanes.envoy.keeper", "--node", node, *where),
            mounts=(
                Mount(path=layout.topology, writable=False),
                Mount(path=layout.proxy(node, lane).parent),
                Mount(path=layout.bench(node, lane).parent),
            ),
        )
        for node in nodes
    ]
    return (*sidecars, *keepers)
