"""What every connection needs, in one place: given to the listeners, shared by all pods."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from proxy.config import Reuse, SameNode, Settings
from proxy.identity import Identities
from proxy.state.store import MeshStore
from proxy.telemetry import Stats, Telemetry


@dataclass(slots=True)
class Switches:
    """What the control socket may change while the proxy runs; read once by each new connection."""

    reuse: Reuse
    same_node: SameNode


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The proxy's parts, as its listeners see them."""

    settings: Settings
    store: MeshStore
    identities: Identities
    telemetry: Telemetry
    switches: Switches
    random: Random

    @property
    def stats(self) -> Stats:
        """Counters to increment."""
        return self.telemetry.stats
