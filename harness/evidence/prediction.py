"""How many connection tracking entries a cell has to leave, per place and leg: a pure prediction.

The legs of a connection, as a namespace's table shows them:

    captured-outbound   dialled by the app, its destination rewritten to the proxy's port 15001
    captured-inbound    came from outside, its destination rewritten to the proxy's port 15006
    tunnel              to port 15008: one per tunnel, not per connection
    app                 to a backend's port, not rewritten

TPROXY rewrites nothing. So where the proxy's own leg goes to the same port as the captured one, both
show as `app`, and there are two for each connection.

Nothing in nodes and in the underlay asks for conntrack; nor does anything in a pod that is not
captured, or at a level that is `none` or `tproxy-notrack`. There, the prediction is an empty table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from harness.evidence.sources.conntrack import Entry
from harness.plan.model import Interception
from harness.topology.model import APP_PORT, ECHO_PORT, SINK_PORT, SOURCE_PORT

OUTBOUND_PORT = 15001
INBOUND_PORT = 15006
HBONE_PORT = 15008
"""The proxy's listeners inside a pod. Source: istio/ztunnel ARCHITECTURE.md, ports."""

APP_PORTS = frozenset({APP_PORT, ECHO_PORT, SINK_PORT, SOURCE_PORT})


class Leg(StrEnum):
    """What an entry stands for."""

    CAPTURED_OUTBOUND = "captured-outbound"
    CAPTURED_INBOUND = "captured-inbound"
    TUNNEL = "tunnel"
    APP = "app"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """How a cell's connections travel."""

    interception: Interception
    captured_outbound: bool
    """The client's pod is captured."""
    captured_inbound: bool
    """The target's pod is captured."""
    tunnelled: bool
    handed_over: bool = False
    """One proxy serves both ends, and there is no connection between them."""
    connections: int
    tunnels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """Leg -> entries, in the two namespaces in which there can be any."""

    client: dict[Leg, int]
    target: dict[Leg, int]


def predict(shape: Shape) -> Prediction:
    """The entries that such a cell leaves; legs without any are absent."""
    if not shape.interception.conntrack:
        return Prediction(client={}, target={})
    return Prediction(
        client=_present(_client(shape)) if shape.captured_outbound else {},
        target=_present(_target(shape)) if shape.captured_inbound else {},
    )


def _client(shape: Shape) -> dict[Leg, int]:
    dialled = 0 if shape.tunnelled or shape.handed_over else shape.connections
    tunnels = shape.tunnels if shape.tunnelled else 0
    if shape.interception is Interception.REDIRECT:
        return {Leg.CAPTURED_OUTBOUND: shape.connections, Leg.TUNNEL: tunnels, Leg.APP: dialled}
    return {Leg.TUNNEL: tunnels, Leg.APP: shape.connections + dialled}


def _target(shape: Shape) -> dict[Leg, int]:
    if shape.tunnelled:
        return {Leg.TUNNEL: shape.tunnels, Leg.APP: shape.connections}
    if shape.handed_over:
        return {Leg.APP: shape.connections}
    if shape.interception is Interception.REDIRECT:
        return {Leg.CAPTURED_INBOUND: shape.connections, Leg.APP: shape.connections}
    return {Leg.APP: 2 * shape.connections}


def _present(legs: dict[Leg, int]) -> dict[Leg, int]:
    return {leg: count for leg, count in legs.items() if count}


def leg(entry: Entry) -> Leg:
    """What an entry stands for, told by its ports alone."""
    if entry.reply_source_port == OUTBOUND_PORT:
        return Leg.CAPTURED_OUTBOUND
    if entry.reply_source_port == INBOUND_PORT:
        return Leg.CAPTURED_INBOUND
    if entry.destination_port == HBONE_PORT:
        return Leg.TUNNEL
    if entry.destination_port in APP_PORTS and entry.reply_source_port == entry.destination_port:
        return Leg.APP
    return Leg.OTHER


def tally(entries: Iterable[Entry]) -> dict[Leg, int]:
    """Leg -> number of entries; legs without any are absent."""
    counts: dict[Leg, int] = {}
    for entry in entries:
        found = leg(entry)
        counts[found] = counts.get(found, 0) + 1
    return counts
