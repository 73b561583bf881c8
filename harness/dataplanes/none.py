"""No data plane: the kernel alone carries the bytes. The baseline of every comparison."""

from __future__ import annotations

from harness.engines.api import Member
from harness.topology.layout import Layout
from harness.topology.model import Topology

CARRIES = False


def members(topology: Topology, layout: Layout) -> tuple[Member, ...]:  # noqa: ARG001  # the slot's signature
    """Nothing to start."""
    return ()
