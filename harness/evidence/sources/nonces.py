"""What was heard on the nodes' links: the first frames with payload, and those that hold a nonce in clear.

Twice: while the cell's first packets were probed, and once a round while plaintext was sent on purpose, which
is the listener's own control.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.evidence.sources.document import Fields, Unreadable, new

NAME = "nonces"


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """One node's link, arriving frames alone; each link between nodes has two such ends."""

    frames: int
    """The first frames with payload, which were looked at."""
    hits: int
    """Those that hold the nonce's prefix."""
    unkept: int
    """Later frames, for which there was no room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nonces:
    """Node -> what was heard."""

    cell: Mapping[str, Heard]
    control: Mapping[str, Heard]
    control_cell: str
    """The cell at whose start the control was made; others of the round refer to it."""
    control_node: str
    """Where the control was sent from, and its answers had to be heard; empty where there was none."""
    no_control: str
    """Why there was none; empty where there was."""

    def hits(self, node: str) -> int:
        """Frames of the cell that hold the nonce."""
        return self._of(self.cell, node).hits

    def frames(self, node: str) -> int:
        """Frames of the cell with payload."""
        return self._of(self.cell, node).frames

    @property
    def control_hits(self) -> int:
        """Frames of the control that hold the nonce, where its answers arrive."""
        return self._of(self.control, self.control_node).hits

    @staticmethod
    def _of(heard: Mapping[str, Heard], node: str) -> Heard:
        try:
            return heard[node]
        except KeyError:
            raise Unreadable(NAME, f"nothing was heard of node {node}") from None


def collect(heard: Mapping[str, Any], control: Mapping[str, Any]) -> dict[str, Any]:
    """The document from the agents' `heard` replies by node, and the round's control."""
    return new(NAME, cell=dict(heard), control=dict(control))


def control(cell: str, node: str, heard: Mapping[str, Any]) -> dict[str, Any]:
    """The control's part of the document; it was sent from `node`."""
    return {"cell": cell, "node": node, "nodes": dict(heard)}


def no_control(cell: str, reason: str) -> dict[str, Any]:
    """The control's part where there was none."""
    return {"cell": cell, "not_made": reason}


def read(documents: Mapping[str, Any]) -> Nonces:
    """The typed readings.

    Raises:
        Unreadable: The document is missing or malformed.
    """
    fields = Fields.opened(NAME, documents)
    control = fields.child("control")
    made = not control.has("not_made")
    return Nonces(
        cell=_nodes(fields.child("cell")),
        control=_nodes(control.child("nodes")) if made else {},
        control_cell=control.text("cell"),
        control_node=control.text("node") if made else "",
        no_control="" if made else control.text("not_made"),
    )


def _nodes(fields: Fields) -> dict[str, Heard]:
    return {node: _heard(fields.child(node)) for node in fields}


def _heard(fields: Fields) -> Heard:
    return Heard(
        frames=fields.integer("frames"), hits=fields.integer("hits"), unkept=fields.integer("unkept")
    )
