"""No data plane: the kernel alone carries the bytes. The baseline of every comparison."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harness.engines.api import Member
from harness.topology.layout import Layout
from harness.topology.model import Topology

CARRIES = False
ONLY: Mapping[str, str | int] = {}
LACKS: Mapping[str, str] = {}
REMARKS: tuple[str, ...] = ()


def enrols(node: str) -> bool:  # noqa: ARG001  # the slot's signature
    """There is nobody to hand a pod to."""
    return False


def members(
    topology: Topology,  # noqa: ARG001  # the slot's signature, here and below
    layout: Layout,  # noqa: ARG001
    *,
    lane: int,  # noqa: ARG001
    nodes: Collection[str],  # noqa: ARG001
) -> tuple[Member, ...]:
    """Nothing to start."""
    return ()
