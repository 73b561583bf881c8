"""The words of a plan: factors, configurations, cells, bouts, loads.

Pure values. A `Configuration` is one combination of factors; a `Cell` is one configuration measured once, on
one lane, in one bout of one round; a `Bout` is the cells that are measured in turns; a `Plan` is all of them
in the order in which they will run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby

from harness.topology.model import IpFamily


class Arrivals(StrEnum):
    """How the instants of an open loop's requests lie: evenly, or with gaps drawn as chance draws them."""

    CONSTANT = "constant"
    POISSON = "poisson"


class Path(StrEnum):
    """Where a connection goes, as seen from the client pod."""

    SAME_NODE = "same-node"
    CROSS_NODE = "cross-node"
    OUT_OF_MESH = "out-of-mesh"
    INTO_MESH = "into-mesh"
    SERVICE = "service"
    """To a virtual address that stands for several pods, on any node."""


class Interception(StrEnum):
    """How packets reach the proxy, and with which use of conntrack."""

    NONE = "none"
    REDIRECT = "redirect"
    TPROXY = "tproxy"
    TPROXY_NOTRACK = "tproxy-notrack"

    @property
    def conntrack(self) -> bool:
        """Whether the kernel tracks connections in the pods' namespaces at this level."""
        return self in {Interception.REDIRECT, Interception.TPROXY}


class Reuse(StrEnum):
    """Whether a new connection may use a tunnel that exists."""

    ON = "on"
    OFF = "off"
    OFF_SERIALISED = "off-serialised"
    """A tunnel for each connection, and those of one key opened one after another, as in ztunnel."""


class SameNode(StrEnum):
    """What carries traffic between pods of one node: as today's ztunnel, or as until 2024."""

    HBONE = "hbone"
    PLAINTEXT = "plaintext"


STREAMS_PER_TUNNEL = 100
"""What a tunnel carries at once before the pool opens another. Source: istio/ztunnel config,
POOL_MAX_STREAMS_PER_CONNECTION."""
WINDOW_KIB = 4096
"""Flow-control window of a tunnel's stream; the tunnel's own is four times as large. Source: likewise,
HTTP2_STREAM_WINDOW_SIZE and HTTP2_CONNECTION_WINDOW_SIZE."""


class State(StrEnum):
    """What a sample met: see the words in the architecture document. The order is the wire code."""

    COLD = "cold"
    WARM = "warm"
    NEW = "new"
    STEADY = "steady"


ROUND_TRIPS = {State.COLD: 4, State.WARM: 2, State.NEW: 2, State.STEADY: 1}
"""State -> round trips between the nodes until the answer's first byte, when the client speaks first.

Directly and past the mesh TCP's handshake and the request; through a tunnel CONNECT and its 200, then the
request; where the tunnel is yet to be opened, TCP and TLS 1.3 before. Later, the request.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """One combination of factors."""

    path: Path
    dataplane: str
    interception: Interception
    reuse: Reuse = Reuse.ON
    same_node: SameNode = SameNode.HBONE
    filler_rules: int = 0
    ip_family: IpFamily = IpFamily.IPV4
    streams_per_tunnel: int = STREAMS_PER_TUNNEL
    window_kib: int = WINDOW_KIB
    policies: int = 0
    """Authorization policies of which none matches, beside those of the topology."""
    rtt_ms: int = 0
    """By how much a round trip between nodes, or to an outside host, is made longer."""
    twin: bool = False
    """Whether it is the second of two that are the same: the A/A control of its bout."""

    @property
    def place(self) -> tuple[Path, int]:
        """What all cells of a bout share: the path, and the distance, which is the underlay's."""
        return self.path, self.rtt_ms

    @property
    def tuning(self) -> tuple[str, ...]:
        """What is tuned away from the default, as parts of the key: rules, streams, windows, policies."""
        tuned = (
            ("filler", self.filler_rules, 0),
            ("streams", self.streams_per_tunnel, STREAMS_PER_TUNNEL),
            ("window", self.window_kib, WINDOW_KIB),
            ("policies", self.policies, 0),
        )
        return tuple(f"{name}-{value}" for name, value, usual in tuned if value != usual)

    @property
    def policies_made(self) -> int:
        """How many policies that takes: one more, which lets through what no other allows."""
        return self.policies + 1 if self.policies else 0

    @property
    def tunnelled(self) -> bool:
        """Whether this configuration's connections travel in HBONE tunnels."""
        if self.dataplane == "none":
            return False
        if self.path is Path.SAME_NODE:
            return self.same_node is SameNode.HBONE
        return self.path in {Path.CROSS_NODE, Path.SERVICE}

    @property
    def states(self) -> tuple[State, ...]:
        """The states that exist for this configuration, in order; all others do not exist."""
        if not self.tunnelled:
            return (State.NEW, State.STEADY)
        if self.reuse is not Reuse.ON or self.path is Path.SERVICE:
            # of a service, a new connection may meet an endpoint to which there is no tunnel yet
            return (State.COLD, State.STEADY)
        return (State.COLD, State.WARM, State.STEADY)

    @property
    def key(self) -> str:
        """A stable name, unique within a plan, fit for a folder: `cross-node.pyztunnel.redirect.reuse-on`."""
        parts = [self.path.value, self.dataplane]
        if self.dataplane != "none":
            parts += [self.interception.value, f"reuse-{self.reuse.value}"]
        if self.same_node is not SameNode.HBONE:
            parts.append(f"same-node-{self.same_node.value}")
        parts += self.tuning
        if self.ip_family is not IpFamily.IPV4:
            parts.append(self.ip_family.value)
        if self.rtt_ms:
            parts.append(f"rtt-{self.rtt_ms}")
        if self.twin:
            parts.append("twin")
        return ".".join(parts)


_TUNING = ("filler-", "streams-", "window-", "policies-")


def tuned(key: str) -> bool:
    """Whether a configuration's key says that something is tuned away from the default."""
    return any(part.startswith(_TUNING) for part in key.split("."))


RTT_BYTES = 128
"""Size of the message that goes round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What is asked of each cell. Times are seconds unless the name says otherwise."""

    probes: int
    """First-packet probes of each first state (cold, warm or new) per cell."""
    later_requests: int
    """Steady requests that follow on each probed connection."""
    gap_ms: float
    """Pause between the control call and the probe, the same for every state."""
    later_interval_ms: float
    """Pace of the later requests, well below saturation."""
    rate_hz: float
    """Fixed request rate on live connections; 0 leaves the stage out."""
    rate_s: float
    rate_connections: int
    requests_connections: int
    """Live connections that send requests back to back, for throughput."""
    requests_s: float
    transfer_streams: int
    """Connections that download in bulk."""
    transfer_s: float
    response_bytes: int
    """Body size of a request's answer beyond its identifying line."""
    rtt_s: float = 0.0
    """Round trips of `RTT_BYTES` on one live connection, back to back; 0 leaves the stage out."""
    alone_s: float = 0.0
    """The stages `requests` and `transfer` once more, on one connection each; 0 leaves them out."""
    connects_at_once: int = 8
    connects_s: float = 0.0
    """New connections back to back, so many at once, one request on each; 0 leaves the stage out."""
    rate_arrivals: Arrivals = Arrivals.CONSTANT
    workers: int = 1
    """Locust processes per client pod, which share the load of each of their stages."""
    scenarios: Mapping[str, Mapping[str, float | int | str]] = field(default_factory=dict)
    """Name in `harness.plan.scenarios` -> its keys; those that the suite left out are absent."""

    def scenario(self, name: str) -> Mapping[str, float | int | str]:
        """A scenario's keys, empty where it is left out or has no length."""
        asked = self.scenarios.get(name, {})
        return asked if asked.get("seconds") else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One configuration on one lane, in one bout of one round."""

    index: int
    round: int
    bout: int
    """Which of the round's bouts, from 0; a number stands for the same configurations in every round."""
    lane: int
    """From 1."""
    configuration: Configuration

    @property
    def name(self) -> str:
        """The cell's folder: `0007-r2-cross-node.pyztunnel.redirect.reuse-on`."""
        return f"{self.index:04d}-r{self.round}-{self.configuration.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bout:
    """The cells that are measured in turns: one path, one distance, each on a lane of its own."""

    round: int
    number: int
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """A name for messages: `r2 cross-node`."""
        path, rtt_ms = self.cells[0].configuration.place
        return f"r{self.round} {path.value}" + (f" rtt-{rtt_ms}" if rtt_ms else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """All cells in their order, and what each asks for."""

    suite: str
    seed: int
    rounds: int
    load: Load
    cells: tuple[Cell, ...]
    predicted_s: float
    """Predicted wall time from the first bout's start to the last one's end, seconds."""

    @property
    def lanes(self) -> int:
        """How many lanes it takes."""
        return max(cell.lane for cell in self.cells)

    @property
    def bouts(self) -> tuple[Bout, ...]:
        """The cells by bout, in order."""
        return tuple(
            Bout(round=number, number=bout, cells=tuple(cells))
            for (number, bout), cells in groupby(self.cells, key=lambda cell: (cell.round, cell.bout))
        )
