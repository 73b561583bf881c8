"""One connection as the proxy saw it, from accept to its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from time import monotonic_ns
from typing import TYPE_CHECKING, Protocol

from proxy.identity.spiffe import SpiffeId
from proxy.state.model import Service, SocketAddress, Workload

if TYPE_CHECKING:
    from proxy.telemetry.traffic import Traffic


class Direction(StrEnum):
    """Which side of the proxy a connection came in on."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"


class Outcome(StrEnum):
    """How a connection was carried, or why not."""

    HBONE = "hbone"
    PASSTHROUGH = "passthrough"
    DENIED = "denied"
    FAILED = "failed"


class Flag(StrEnum):
    """ztunnel's response flags."""

    NONE = "-"
    DENY = "DENY"
    CONNECT = "CONNECT"
    TLS_FAILURE = "TLS_FAILURE"
    H2_HANDSHAKE_FAILURE = "H2_HANDSHAKE_FAILURE"
    NETWORK_POLICY = "NETWORK_POLICY"
    IDENTITY_ERROR = "IDENTITY_ERROR"


@dataclass(slots=True)
class Phases:
    """When each step was done: monotonic ns, None where it was not reached or does not apply."""

    original_destination_ns: int | None = None
    route_ns: int | None = None
    policy_ns: int | None = None
    pool_ns: int | None = None
    """The pool had decided: a tunnel that is there, or one to be opened now."""
    tcp_ns: int | None = None
    tls_ns: int | None = None
    """The tunnel that was opened for this connection had shaken hands; so `tcp_ns` and this are None where
    one was there."""
    tunnel_ns: int | None = None
    """The tunnel that carries it had shaken hands, whenever that was; on both sides."""
    settings_ns: int | None = None
    """The peer's SETTINGS had come, of a tunnel opened for this connection: nothing waits for them."""
    connect_sent_ns: int | None = None
    """The CONNECT was about to leave."""
    connect_ns: int | None = None
    """The CONNECT was answered with 200."""
    app_connect_ns: int | None = None
    answered_ns: int | None = None
    """The 200 was about to leave."""
    first_sent_ns: int | None = None
    first_received_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a peer's proxy says of its workload: for labels where the mesh says nothing, never for a decision.

    Source: ztunnel src/baggage.rs.
    """

    cluster: str = ""
    namespace: str = ""
    workload_name: str = ""
    canonical_name: str = ""
    canonical_revision: str = ""
    region: str = ""
    zone: str = ""


class Carrier(Protocol):
    """A relay that carries a connection's bytes: `sent` from its opener to its target, `received` back."""

    @property
    def sent(self) -> int:
        """Bytes so far."""

    @property
    def received(self) -> int:
        """Bytes so far."""

    @property
    def first_sent_ns(self) -> int | None:
        """When the first left: monotonic."""

    @property
    def first_received_ns(self) -> int | None:
        """Likewise."""


@dataclass(slots=True, kw_only=True, eq=False)
class ConnectionRecord:
    """Filled in as things become known; handed to `Telemetry.complete` once, at the end.

    `bytes_sent` go from the connection's opener to its target, `bytes_received` come back.
    """

    direction: Direction
    source_address: SocketAddress
    dialled: SocketAddress | None = None
    """What an app of ours dialled, before it was routed."""
    destination_address: SocketAddress | None = None
    """The far end of the connection below any tunnel: of HBONE, the pod's port 15008. Until it is known,
    what was dialled."""
    hbone_address: str | None = None
    """The CONNECT's authority."""
    source: Workload | None = None
    source_identity: SpiffeId | None = None
    claims: Claims | None = None
    """What the source's proxy says of the source."""
    destination: Workload | None = None
    destination_identity: SpiffeId | None = None
    service: Service | None = None
    outcome: Outcome = Outcome.FAILED
    """FAILED until something better is true."""
    flag: Flag = Flag.NONE
    error: str | None = None
    failed: bool = False
    """Whether `error` is a failure. An app that resets is told and is none."""
    policy: str | None = None
    """The policy that decided, `namespace/name`."""
    dry_run: str | None = None
    """What would have been decided with the policies of a dry run in force, where that differs."""
    trace_id: str | None = None
    """32 hex digits of the CONNECT's traceparent: joins the records of two proxies."""
    stream_id: int | None = None
    """Of the tunnel that carries it: 1 is the tunnel's first."""
    own_end: SocketAddress | None = None
    """Our end of the connection to the app or the target; noted only for a journal."""
    bytes_sent: int = 0
    bytes_received: int = 0
    accepted_ns: int = field(default_factory=monotonic_ns)
    ended_ns: int | None = None
    phases: Phases = field(default_factory=Phases)
    series: Traffic | None = None
    """Where it is counted, from the moment that it is known who talks to whom: None before, and for one that
    was turned away before."""
    carrier: Carrier | None = None
    """What carries its bytes now."""
    completed: bool = False

    @property
    def mutual_tls(self) -> bool:
        """Whether this connection's far leg was authenticated on both ends."""
        return self.hbone_address is not None
