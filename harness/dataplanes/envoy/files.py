"""What one pod's Envoy and its node's keeper share: an administration socket, and the clusters' file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.topology.layout import Layout
from harness.topology.model import Pod, Topology


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """One pod's."""

    admin: Path
    clusters: Path


def of(layout: Layout, topology: Topology, pod: Pod) -> Files:
    """Where they are: beside the keeper's socket, by number, since a socket's path has to be short."""
    number = topology.pods.index(pod)
    folder = layout.proxy(pod.node, pod.lane).parent
    return Files(admin=folder / f"envoy{number}.sock", clusters=folder / f"clusters{number}.json")


def replace(path: Path, document: dict[str, Any]) -> None:
    """Put a document there by a rename: Envoy looks again when a file is moved to its folder."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document))
    part.replace(path)
