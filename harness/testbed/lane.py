"""A handle on one lane of a testbed that is up: its view of the topology, its proxies, its switches."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from harness.control import Channel, Reply
from harness.controlplane.document import document as mesh_document
from harness.controlplane.synthetic import with_policies
from harness.errors import RunFailed
from harness.plan.model import Interception
from harness.testbed.channels import Channels, Request, ask, in_turn
from harness.testbed.placement import Placement
from harness.topology.layout import Layout
from harness.topology.model import Topology

IN_FORCE_S = 20.0
"""For a mesh document to be in force: 0.25 s until it is looked at, and 2 s to read 10,000 policies."""
LOOK_AT_VERSION_S = 0.01


class NotInForce(RunFailed):
    """A proxy does not follow the mesh document; the message says which."""


class Lane:
    """One lane. The testbed hands it out, and brings it to other placements (`Testbed.place`)."""

    def __init__(
        self, number: int, topology: Topology, layout: Layout, channels: Channels, placement: Placement
    ) -> None:
        """Take the lane's number, the whole testbed's topology, and what the lane carries."""
        self.number = number
        self.topology = topology.lane(number)
        """The lane's view: its pods and services; nodes and hosts are every lane's."""
        self.placement = placement
        """What it carries now."""
        self.policies = 0
        """Synthetic policies in force at its proxies."""
        self._layout = layout
        self._channels = channels

    @property
    def carries(self) -> bool:
        """Whether a proxy runs on every node."""
        return self.placement.carries

    @property
    def lacks(self) -> Mapping[str, str]:
        """What a round asks of a proxy -> why this lane's cannot be asked."""
        return self.placement.lacks

    @property
    def mesh(self) -> Path:
        """Its mesh document."""
        return self._layout.mesh(self.number)

    def proxy(self, node: str) -> Channel:
        """The control channel to its proxy on a node."""
        return self._channels.to(self._layout.proxy(node, self.number))

    def proxies(self) -> dict[str, Channel]:
        """The control channels to its proxies, by node; empty without a data plane."""
        return {node.name: self.proxy(node.name) for node in self.topology.nodes} if self.carries else {}

    def bench(self) -> dict[str, Path]:
        """Its proxies' bench-only sockets, by node; empty without a data plane."""
        nodes = self.topology.nodes if self.carries else ()
        return {node.name: self._layout.bench(node.name, self.number) for node in nodes}

    def ask_proxies(self, op: str, /, **arguments: object) -> dict[str, Reply]:
        """Ask all its proxies the same at the same time; node -> answer, nothing without a data plane."""
        return ask(self.proxies(), op, **arguments)

    def capture(self, interception: Interception, filler_rules: int = 0) -> dict[str, Reply]:
        """Write the rules of a level into its captured pods; node -> what its agent applied."""
        self.placement = replace(self.placement, interception=interception, filler_rules=filler_rules)
        return dict(zip(self._nodes(), in_turn(self.captures()), strict=True))

    def apply_policies(self, count: int) -> None:
        """Have its proxies judge by so many synthetic policies more, and wait until they all do.

        Raises:
            NotInForce: A proxy did not take the document.
        """
        if not self.carries or count == self.policies:
            return
        before = self._mesh_versions()
        document = with_policies(json.loads(self.mesh.read_text()), count)
        beside = self.mesh.with_suffix(".new")
        beside.write_text(json.dumps(document))
        beside.replace(self.mesh)
        deadline = time.monotonic() + IN_FORCE_S
        while late := [node for node, version in self._mesh_versions().items() if version <= before[node]]:
            if time.monotonic() > deadline:
                raise NotInForce(
                    f"{count} synthetic policies: {self.mesh} was replaced, but the proxies of node "
                    f"{', '.join(late)} did not take it within {IN_FORCE_S:g} s; their logs say why"
                )
            time.sleep(LOOK_AT_VERSION_S)
        self.policies = count

    # What the testbed does to several lanes at once

    def begin(self, placement: Placement) -> None:
        """Note what the lane is to carry, with the mesh document that its next proxies read first."""
        self.placement, self.policies = placement, 0
        self.mesh.write_text(json.dumps(mesh_document(self.topology), indent=2) + "\n")

    def forget_proxies(self) -> None:
        """Close the channels to proxies that are gone."""
        for node in self._nodes():
            self._channels.forget(self._layout.proxy(node, self.number))

    def releases(self) -> list[Request]:
        """Requests to every node's agent: forget which pods the proxy that is gone was handed."""
        return [(self._agent(node), "release", {"lane": self.number}) for node in self._nodes()]

    def captures(self) -> list[Request]:
        """Requests to every node's agent: write the rules of the lane's placement."""
        level = {
            "interception": self.placement.interception.value,
            "filler_rules": self.placement.filler_rules,
        }
        return [(self._agent(node), "capture", {"lane": self.number, **level}) for node in self._nodes()]

    def enrolments(self) -> list[Request]:
        """Requests to the agents: hand every captured pod to the node's proxy, where it takes pods by ZDS."""
        return [
            (self._agent(pod.node), "enrol", {"lane": self.number, "pod": pod.name})
            for pod in self.topology.pods
            if pod.captured and self.placement.on(pod.node).enrols(pod.node)
        ]

    def _agent(self, node: str) -> Channel:
        return self._channels.to(self._layout.agent(node))

    def _nodes(self) -> list[str]:
        return [node.name for node in self.topology.nodes]

    def _mesh_versions(self) -> dict[str, int]:
        replies = self.ask_proxies("stats")
        return {node: int(reply.document["mesh_version"]) for node, reply in replies.items()}
