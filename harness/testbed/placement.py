"""What a lane carries: the data plane on each node, and how packets reach it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from harness import dataplanes
from harness.dataplanes import DataPlane
from harness.errors import UsageError
from harness.plan.model import Interception


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """One lane's configuration, as far as processes and rules make it."""

    dataplane: str | Mapping[str, str]
    """One for all nodes, or node -> its own."""
    interception: Interception
    filler_rules: int = 0

    def __post_init__(self) -> None:
        """Check that every captured connection has somebody to answer it.

        Raises:
            UsageError: A data plane is not known, only some nodes have a proxy, or none has one though
                connections are captured.
        """
        carrying = {name: dataplanes.named(name).CARRIES for name in self.names}
        if len(set(carrying.values())) > 1:
            raise UsageError(
                f"data planes {', '.join(self.names)} in one lane: a proxy on all nodes or on none"
            )
        if not all(carrying.values()) and self.interception is not Interception.NONE:
            raise UsageError(
                f"interception {self.interception} without a data plane: "
                "nothing would answer captured connections"
            )

    @property
    def names(self) -> list[str]:
        """The data planes' names, sorted, each once."""
        if isinstance(self.dataplane, str):
            return [self.dataplane]
        return sorted(set(self.dataplane.values()))

    @property
    def carries(self) -> bool:
        """Whether a proxy runs on every node."""
        return all(dataplanes.named(name).CARRIES for name in self.names)

    @property
    def lacks(self) -> Mapping[str, str]:
        """What a round asks of a proxy -> why one of this lane's cannot be asked."""
        return {what: why for name in self.names for what, why in dataplanes.named(name).LACKS.items()}

    @property
    def words(self) -> str:
        """In few words: `pyztunnel redirect`, `envoy+pyztunnel tproxy, 100 filler rules`."""
        filler = f", {self.filler_rules} filler rules" if self.filler_rules else ""
        return f"{'+'.join(self.names)} {self.interception.value}{filler}"

    def on(self, node: str) -> DataPlane:
        """The data plane of a node.

        Raises:
            UsageError: The placement says nothing of that node.
        """
        if isinstance(self.dataplane, str):
            return dataplanes.named(self.dataplane)
        if node not in self.dataplane:
            raise UsageError(f"placement of node {node!r}: no data plane is named, only for {self._nodes()}")
        return dataplanes.named(self.dataplane[node])

    def by_dataplane(self, nodes: Iterable[str]) -> dict[str, list[str]]:
        """Data plane -> the nodes on which it carries the lane."""
        found: dict[str, list[str]] = {}
        for node in nodes:
            self.on(node)
            name = self.dataplane if isinstance(self.dataplane, str) else self.dataplane[node]
            found.setdefault(name, []).append(node)
        return found

    def document(self) -> dict[str, Any]:
        """For files and for other programs."""
        return {
            "dataplane": self.dataplane if isinstance(self.dataplane, str) else dict(self.dataplane),
            "interception": self.interception.value,
            "filler_rules": self.filler_rules,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Self:
        """The placement that `document` wrote.

        Raises:
            UsageError, KeyError, ValueError: It is none.
        """
        return cls(
            dataplane=document["dataplane"],
            interception=Interception(document["interception"]),
            filler_rules=int(document["filler_rules"]),
        )

    def _nodes(self) -> str:
        return ", ".join(sorted(self.dataplane)) if not isinstance(self.dataplane, str) else "all"
