"""From a topology to the processes that make it up. The same on every engine; pure but for `FORWARDED`."""

from __future__ import annotations

import os
from collections.abc import Sequence

from harness import dataplanes
from harness.engines.api import Member, Mount, Role
from harness.testbed.placement import Placement
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


def compose(topology: Topology, placements: Sequence[Placement], layout: Layout) -> tuple[Member, ...]:
    """Every member, owners of namespaces before those that share them.

    Args:
        topology: With as many lanes as there are placements.
        placements: What each lane carries, the first lane first.
        layout: Where the run's files are.
    """
    members = [_holder("underlay", Role.UNDERLAY, "")]
    for node in topology.nodes:
        members += [_holder(node.netns, Role.NODE, node.name), _agent(node, topology, layout)]
    members.append(_controlplane(topology, layout))
    members += [_pod(pod, layout) for pod in topology.pods]
    members += [_app(host, layout) for host in topology.hosts]
    members += _load(topology, layout)
    for number, placement in enumerate(placements, start=1):
        members += proxies(topology, number, placement, layout)
    return tuple(members)


def proxies(topology: Topology, lane: int, placement: Placement, layout: Layout) -> tuple[Member, ...]:
    """What carries a lane: the members that are started anew whenever it is placed."""
    view = topology.lane(lane)
    return tuple(
        member
        for name, nodes in placement.by_dataplane(node.name for node in topology.nodes).items()
        for member in dataplanes.named(name).members(view, layout, lane=lane, nodes=nodes)
    )


def forwarded() -> dict[str, str]:
    """What agents get of the user's environment."""
    return {name: os.environ[name] for name in FORWARDED if name in os.environ}


def wired(members: tuple[Member, ...]) -> tuple[Member, ...]:
    """Those that wiring needs: the agents, and whoever owns a namespace that gets links."""
    owners: dict[str, str] = {}
    for member in members:
        owners.setdefault(member.namespace, member.name)
    unwired = {Role.ZTUNNEL, Role.HELPER, Role.CONTROLPLANE, Role.LOAD}
    return tuple(
        member
        for member in members
        if member.role is Role.AGENT
        or (member.role not in unwired and owners[member.namespace] == member.name)
    )


def _lanes(topology: Topology) -> range:
    """The lanes' numbers. A folder is mounted for each: whoever shares one with a proxy mounts the same."""
    return range(1, topology.lanes + 1)


def _holder(name: str, role: Role, node: str, lane: int = 0) -> Member:
    """A member that only keeps its namespace alive."""
    return Member(name=name, role=role, node=node, lane=lane, image="base", namespace=name, command=IDLE)


def _agent(node: Node, topology: Topology, layout: Layout) -> Member:
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
            *(Mount(path=layout.zds(node.name, lane).parent) for lane in _lanes(topology)),
            Mount(path=layout.sockets(node.name).parent),
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
            *(
                Mount(path=layout.ca(node.name, lane).parent)
                for node in topology.nodes
                for lane in _lanes(topology)
            ),
        ),
    )


def _pod(pod: Pod, layout: Layout) -> Member:
    return _app(pod, layout) if pod.answers else _holder(pod.netns, Role.POD, pod.node, pod.lane)


def _app(member: Pod | Host, layout: Layout) -> Member:
    state = layout.app(member)
    node, lane = (member.node, member.lane) if isinstance(member, Pod) else ("", 0)
    command = ["python3", "-m", "harness.backends", "--pod", member.name, "--node", node]
    command += ["--state-dir", str(state)]
    if IpFamily.IPV6 in member.families:
        command.append("--ipv6")
    return Member(
        name=member.netns,
        role=Role.APP,
        node=node,
        lane=lane,
        image="app",
        namespace=member.netns,
        command=tuple(command),
        mounts=(Mount(path=state),),
    )


def _load(topology: Topology, layout: Layout) -> list[Member]:
    """The two load processes, the same for all client pods, each in a namespace without a network."""
    shared = [
        folder
        for node in topology.nodes
        for folder in (
            layout.sockets(node.name).parent,
            *(layout.bench(node.name, lane).parent for lane in _lanes(topology)),
        )
    ]
    processes = (
        ("probe", "harness.load.probe", layout.probe),
        ("locust", "harness.load.driver", layout.locust),
    )
    return [
        Member(
            name=name,
            role=Role.LOAD,
            node="",
            image="load",
            namespace=name,
            command=("python3", "-m", module, "--socket", str(socket)),
            mounts=tuple(Mount(path=folder) for folder in (socket.parent, *shared)),
        )
        for name, module, socket in processes
    ]
