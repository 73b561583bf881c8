"""What a check is given: the cell's factors, who talked to whom, the evidence, the samples' counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from harness.evidence.model import FirstPacket, SampleCounts
from harness.evidence.sources import (
    answers,
    canary,
    clock,
    conntrack,
    cpu,
    delay,
    generator,
    journal,
    nonces,
    refusal,
    rules,
    sockets,
    starts,
    tunnels,
    turns,
    wire,
)
from harness.evidence.sources.document import Unreadable
from harness.plan.model import Configuration, Path, SameNode
from harness.topology.model import Host, Pod, Service, Topology


@dataclass(frozen=True, kw_only=True)
class Case:
    """One cell, with its evidence opened when a check first looks at it.

    Reading a source that is missing or malformed raises `Unreadable`, which `evaluate` turns into
    an unknown check; checks need not care.
    """

    configuration: Configuration
    topology: Topology
    client: Pod | Host
    target: Pod | Host | Service
    documents: Mapping[str, Any]
    """Source -> its document as read from the cell's folder; absent where there is no such file."""
    samples: SampleCounts
    first_packets: tuple[FirstPacket, ...] = ()
    """Of the probe stage, as they were saved."""

    @cached_property
    def answers(self) -> dict[str, answers.Answers]:
        """Stage -> what came back."""
        stages = answers.read(self.documents)
        if not stages:
            raise Unreadable(answers.NAME, "no stage ran")
        return stages

    @cached_property
    def canary(self) -> canary.Canary:
        """The round's request to what only a proxy can serve."""
        return canary.read(self.documents)

    @cached_property
    def clock(self) -> clock.Clock:
        """The round's packets by both clocks."""
        return clock.read(self.documents)

    @cached_property
    def conntrack(self) -> conntrack.Conntrack:
        """Connection tracking tables."""
        return conntrack.read(self.documents)

    @cached_property
    def journal(self) -> journal.Journal:
        """When connections reached which step."""
        return journal.read(self.documents)

    @cached_property
    def nonces(self) -> nonces.Nonces:
        """What was readable between the nodes."""
        return nonces.read(self.documents)

    @cached_property
    def refusal(self) -> refusal.Refusal:
        """The round's attempt at what policy forbids."""
        return refusal.read(self.documents)

    @cached_property
    def generator(self) -> dict[str, generator.Health]:
        """Stage -> the health of the processes that made its load."""
        return generator.read(self.documents)

    @cached_property
    def cpu(self) -> cpu.Cpu:
        """What the processes on the path used."""
        return cpu.read(self.documents)

    @cached_property
    def delay(self) -> delay.Delay:
        """The delay between the nodes."""
        return delay.read(self.documents)

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

    @cached_property
    def starts(self) -> starts.Starts:
        """When the lane's proxies began."""
        return starts.read(self.documents)

    @cached_property
    def turns(self) -> dict[str, turns.Turns]:
        """Stage -> this lane's turns among those of all lanes."""
        return turns.read(self.documents)

    @property
    def targets(self) -> tuple[Pod | Host, ...]:
        """Who may answer: the target, or a service's endpoints."""
        return self.target.endpoints if isinstance(self.target, Service) else (self.target,)

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
        """Node of the proxy that connections have to pass before the target, None where they pass none.

        Of a service, the first endpoint's: all of them are captured.
        """
        return self._proxy_of(self.targets[0])

    @property
    def inbound_proxies(self) -> tuple[str, ...]:
        """Nodes of all such proxies, each once."""
        found = (self._proxy_of(target) for target in self.targets)
        return tuple(dict.fromkeys(node for node in found if node is not None))

    def arrived(self, counter: str) -> int:
        """How much a counter grew on the proxies before the targets, together."""
        return sum(self.tunnels.growth(node, counter) for node in self.inbound_proxies)

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
        nodes = (member.node for member in (self.client, *self.targets) if isinstance(member, Pod))
        return tuple(dict.fromkeys(nodes))

    @property
    def crosses_nodes(self) -> bool:
        """Whether the connections leave their node."""
        return (
            len(self.nodes_of_path) != 1 or isinstance(self.client, Host) or isinstance(self.targets[0], Host)
        )

    def retransmitted_syns(self, *namespaces: str) -> int:
        """SYNs that the kernel sent again during the cell, in those namespaces together."""
        return sum(self.sockets.growth(namespace, "TcpExt.TCPSynRetrans") for namespace in namespaces)

    def _proxy_of(self, member: Pod | Host) -> str | None:
        if self.configuration.dataplane == "none" or isinstance(member, Host) or not member.captured:
            return None
        return member.node
