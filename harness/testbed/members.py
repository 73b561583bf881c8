"""From a topology to the processes that make it up. The same on every engine; pure but for `FORWARDED`."""

from __future__ import annotations

import os

from harness.dataplanes import DataPlane
from harness.engines.api import Member, Mount, Role
from harness.topology.layout import Layout
from harness.topology.model import Host, IpFamily, Node, Pod, Topology

IDLE = ("python3", "-m", "harness.engines.idle")

AGENT_CAPABILITIES = {
    "NET_ADMIN": "make links, addresses, routes, rules, net sysctls in the node's and its pods' namespaces",
    "NET_RAW": "talk to iptables legacy, which uses a raw socket",
    "SYS_ADMIN": "enter the pods' network namespaces (setns)",
    "SYS_PTRACE": "open /proc/PID/ns/net of the pods' processes",
}

FORWARDED = ("AMBIENTBENCH_APPLIER",)
"""Settings of the user's environment that reach the agents; see `harness.agent.probe`."""


def compose(topology: Topology, dataplane: DataPlane, layout: Layout) -> tuple[Member, ...]:
    """Every member, owners of namespaces before those that share them."""
    members = [_holder("underlay", Role.UNDERLAY, "")]
    for node in topology.nodes:
        members += [_holder(node.netns, Role.NODE, node.name), _agent(node, layout)]
    members.append(_controlplane(topology, layout))
    for pod in topology.pods:
        members += _load(pod, topology, layout) if pod.client else [_app(pod, layout)]
    members += [_app(host, layout) for host in topology.hosts]
    members += dataplane.members(topology, layout)
    return tuple(members)


def forwarded() -> dict[str, str]:
    """What agents get of the user's environment."""
    return {name: os.environ[name] for name in FORWARDED if name in os.environ}


def wired(members: tuple[Member, ...]) -> tuple[Member, ...]:
    """Those that wiring needs: the agents, and whoever owns a namespace that gets links."""
    owners: dict[str, str] = {}
    for member in members:
        owners.setdefault(member.namespace, member.name)
    unwired = {Role.ZTUNNEL, Role.CONTROLPLANE}
    return tuple(
        member
        for member in members
        if member.role is Role.AGENT
        or (member.role not in unwired and owners[member.namespace] == member.name)
    )


def _holder(name: str, role: Role, node: str) -> Member:
    """A member that only keeps its namespace alive."""
    return Member(name=name, role=role, node=node, image="base", namespace=name, command=IDLE)


def _agent(node: Node, layout: Layout) -> Member:
    return Member(
        name=f"agent-{node.name}",
        role=Role.AGENT,
        node=node.name,
        image="agent",
        namespace=node.netns,
        command=("python3", "-m", "harness.agent", "--node", node.name, "--rundir", str(layout.directory)),
        env=forwarded(),
        mounts=(
            Mount(path=layout.topology, writable=False),
            Mount(path=layout.agent(node.name).parent),
            Mount(path=layout.zds(node.name).parent),
        ),
        capabilities=AGENT_CAPABILITIES,
        host_pids=True,
    )


def _controlplane(topology: Topology, layout: Layout) -> Member:
    return Member(
        name="controlplane",
        role=Role.CONTROLPLANE,
        node="",
        image="controlplane",
        namespace="controlplane",
        command=("python3", "-m", "harness.controlplane", "--rundir", str(layout.directory)),
        mounts=(
            Mount(path=layout.topology, writable=False),
            Mount(path=layout.controlplane.parent),
            *(Mount(path=layout.ca(node.name).parent) for node in topology.nodes),
        ),
    )


def _app(member: Pod | Host, layout: Layout) -> Member:
    state, node = layout.app(member.name), member.node if isinstance(member, Pod) else ""
    command = ["python3", "-m", "harness.backends", "--pod", member.name, "--node", node]
    command += ["--state-dir", str(state)]
    if IpFamily.IPV6 in member.families:
        command.append("--ipv6")
    return Member(
        name=member.netns,
        role=Role.APP,
        node=node,
        image="app",
        namespace=member.netns,
        command=tuple(command),
        mounts=(Mount(path=state),),
    )


def _load(pod: Pod, topology: Topology, layout: Layout) -> list[Member]:
    """The client pod's two processes; the probe owns the namespace, Locust shares it."""
    mounts = (
        Mount(path=layout.probe(pod.name).parent),
        *(Mount(path=layout.bench(node.name).parent) for node in topology.nodes),
    )
    probe = ("python3", "-m", "harness.load.probe", "--socket", str(layout.probe(pod.name)))
    locust = ("python3", "-m", "harness.load.driver", "--socket", str(layout.locust(pod.name)))
    return [
        Member(
            name=f"{what}-{pod.name}",
            role=Role.LOAD,
            node=pod.node,
            image="load",
            namespace=pod.netns,
            command=command,
            mounts=mounts,
        )
        for what, command in (("probe", probe), ("locust", locust))
    ]
