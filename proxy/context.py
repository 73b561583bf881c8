"""What every connection needs, in one place: given to the listeners, shared by all pods."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from proxy.admission import Admission
from proxy.config import Reuse, SameNode, Settings
from proxy.identity.identities import Identities
from proxy.identity.spiffe import SpiffeId
from proxy.state.store import MeshStore
from proxy.telemetry import Stats, Telemetry


@dataclass(slots=True)
class Switches:
    """What the control socket may change while the proxy runs; read once by each new connection."""

    reuse: Reuse
    same_node: SameNode
    streams_per_tunnel: int | None = None
    """Most streams on a tunnel of ours; None: as the settings say."""
    window_bytes: int | None = None
    """Flow-control window of a stream of tunnels opened or accepted from now on; None: likewise."""


class Droppable(Protocol):
    """A pool of outbound tunnels."""

    @property
    def live(self) -> int:
        """Streams on its tunnels."""

    def drop_tunnels(self) -> None:
        """Begin to close every tunnel; returns at once."""

    def retire_outdated(self, source: SpiffeId, context: ssl.SSLContext) -> None:
        """Begin to close the source's tunnels that were opened with another context; returns at once."""


class Tunnels:
    """The pools of all pods. A pool is added when its pod's listeners start, removed when they end."""

    def __init__(self) -> None:
        self._pools: set[Droppable] = set()

    def add(self, pool: Droppable) -> None:
        """A pod's pool has come."""
        self._pools.add(pool)

    def remove(self, pool: Droppable) -> None:
        """A pod's pool has gone."""
        self._pools.discard(pool)

    @property
    def live(self) -> int:
        """Streams on outbound tunnels of this node."""
        return sum(pool.live for pool in self._pools)

    def drop(self) -> None:
        """Begin to close every outbound tunnel of this node."""
        for pool in tuple(self._pools):
            pool.drop_tunnels()

    def retire_outdated(self, source: SpiffeId, context: ssl.SSLContext) -> None:
        """Begin to close those of a source that were opened with another context."""
        for pool in tuple(self._pools):
            pool.retire_outdated(source, context)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The proxy's parts, as its listeners see them."""

    settings: Settings
    store: MeshStore
    identities: Identities
    telemetry: Telemetry
    switches: Switches
    random: Random
    tasks: asyncio.TaskGroup
    """The parent of every connection's task; it lives as long as the proxy."""
    tunnels: Tunnels = field(default_factory=Tunnels)
    admission: Admission = field(default_factory=Admission)

    def __post_init__(self) -> None:
        """What a renewed certificate replaces is not used again."""
        self.identities.on_renewed = self.tunnels.retire_outdated

    @property
    def stats(self) -> Stats:
        """Counters to increment."""
        return self.telemetry.stats
