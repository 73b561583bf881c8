"""What carries the bytes in a run: a slot, one file per data plane, found by name.

A data plane's file holds `members(...)`: the processes that it adds to a lane of the testbed, and
what it is to the bench: `CARRIES`, `ONLY`, `LACKS`, `REMARKS`, `enrols(node)`. `none` adds nothing;
`pyztunnel` is our own proxy; `envoy` is an independent one to hold it against.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Collection, Mapping
from typing import Protocol, cast

from harness.engines.api import Member
from harness.errors import UsageError
from harness.topology.layout import Layout
from harness.topology.model import Topology


class DataPlane(Protocol):
    """What a data plane's file holds."""

    CARRIES: bool
    """Whether there is a proxy: False leaves pods uncaptured, whatever the topology says."""
    ONLY: Mapping[str, str | int]
    """Factor of a configuration -> the one value of it that this data plane knows; others: all values."""
    LACKS: Mapping[str, str]
    """What a round asks of a proxy (`canary`, `refusal`) -> why this one cannot be asked."""
    REMARKS: tuple[str, ...]
    """What it does otherwise than ztunnel, for the reader of a comparison."""

    def enrols(self, node: str) -> bool:
        """Whether the node's agent hands it pods over ZDS; False where it is in their namespaces already."""

    def members(
        self, topology: Topology, layout: Layout, *, lane: int, nodes: Collection[str]
    ) -> tuple[Member, ...]:
        """The processes that this data plane needs to carry a lane on some nodes, namespaces included.

        Args:
            topology: The lane's view.
            layout: Where the run's files are.
            lane: The lane's number.
            nodes: Names of those on which it carries the lane.
        """


def known() -> list[str]:
    """All data planes' names, sorted."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def named(name: str) -> DataPlane:
    """The data plane of that name.

    Raises:
        UsageError: There is none; the message lists those that are.
    """
    if name not in known():
        raise UsageError(f"unknown data plane {name!r}; known: {', '.join(known())}")
    return cast("DataPlane", importlib.import_module(f"{__name__}.{name}"))
