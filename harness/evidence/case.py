"""What a check is given: the cell's factors, who talked to whom, the evidence, the samples' counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.evidence.model import SampleCounts
from harness.evidence.sources import answers, conntrack, cpu, rules, sockets, tunnels, wire
from harness.evidence.sources.document import Unreadable
from harness.plan.model import Configuration, Path, SameNode
from harness.topology.model import Host, Pod, Topology


@dataclass(frozen=True, kw_only=True)
class Case:
    """One cell, with its evidence opened when a check first looks at it.

    Reading a source that is missing or malformed raises `Unreadable`, which `evaluate` turns into
    an unknown check; checks need not care.
    """

    configuration: Configuration
    topology: Topology
    client: Pod | Host
    target: Pod | Host
    documents: Mapping[str, Any]
    """Source -> its document as read from the cell's folder; absent where there is no such file."""
    samples: SampleCounts

    @cached_property
    def answers(self) -> dict[str, answers.Answers]:
        """Stage -> what came back."""
        stages = answers.read(self.documents)
        if not stages:
            raise Unreadable(answers.NAME, "no stage ran")
        return stages

    @cached_property
    def conntrack(self) -> conntrack.Conntrack:
        """Connection tracking tables."""
        return conntrack.read(self.documents)

    @cached_property
    def cpu(self) -> cpu.Cpu:
        """What the processes on the path used."""
        return cpu.read(self.documents)

    @cached_property
    def rules(self) -> rules.Rules:
        """Rule counters and digests."""
        return rules.read(self.documents)

    @cached_property
    def sockets(self) -> sockets.Sockets:
        """The kernel's TCP counters."""
        return sockets.read(self.documents)

    @cached_property
    def tunnels(self) -> tunnels.Tunnels:
        """The proxies' counters."""
        return tunnels.read(self.documents)

    @cached_property
    def wire(self) -> wire.Wire:
        """Packets on the measured links."""
        return wire.read(self.documents)

    @property
    def opened(self) -> int:
        """TCP connections that the load processes opened, in all stages."""
        return sum(stage.opened for stage in self.answers.values())

    @property
    def outbound_proxy(self) -> str | None:
        """Node whose proxy the client's connections have to pass, None where they pass none."""
        return self._proxy_of(self.client)

    @property
    def inbound_proxy(self) -> str | None:
        """Node whose proxy the connections have to pass before the target, None where they pass none."""
        return self._proxy_of(self.target)

    @property
    def tunnelled(self) -> bool:
        """Whether the connections have to travel in HBONE tunnels."""
        return self.configuration.tunnelled

    @property
    def handed_over(self) -> bool:
        """Whether one proxy serves both ends and carries the bytes from one to the other inside itself."""
        configuration = self.configuration
        local = configuration.path is Path.SAME_NODE and configuration.same_node is SameNode.PLAINTEXT
        return local and self.outbound_proxy is not None and self.outbound_proxy == self.inbound_proxy

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespaces of all nodes, pods and hosts."""
        topology = self.topology
        members = [pod.netns for pod in topology.pods] + [host.netns for host in topology.hosts]
        return (*(node.netns for node in topology.nodes), *members)

    @property
    def nodes_of_path(self) -> tuple[str, ...]:
        """Nodes of client and target, without repetition; an outside host has none."""
        nodes = (member.node for member in (self.client, self.target) if isinstance(member, Pod))
        return tuple(dict.fromkeys(nodes))

    @property
    def crosses_nodes(self) -> bool:
        """Whether the connections leave their node."""
        return len(self.nodes_of_path) != 1 or isinstance(self.client, Host) or isinstance(self.target, Host)

    def retransmitted_syns(self, *namespaces: str) -> int:
        """SYNs that the kernel sent again during the cell, in those namespaces together."""
        return sum(self.sockets.growth(namespace, "TcpExt.TCPSynRetrans") for namespace in namespaces)

    def _proxy_of(self, member: Pod | Host) -> str | None:
        if self.configuration.dataplane == "none" or isinstance(member, Host) or not member.captured:
            return None
        return member.node
