"""Counters as plain integers: incremented in place by whoever does the thing, read at any time."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, fields


@dataclass(slots=True)
class Stats:
    """Counts since start. Each only grows, except the two gauges."""

    accepted_outbound: int = 0
    accepted_inbound: int = 0
    """HBONE connections (TLS, port 15008)."""
    accepted_inbound_plaintext: int = 0
    completed_outbound_hbone: int = 0
    completed_outbound_passthrough: int = 0
    completed_outbound_denied: int = 0
    completed_outbound_failed: int = 0
    tunnels_opened: int = 0
    """Outbound tunnels that reached the state in which they carry streams."""
    tunnels_closed: int = 0
    tunnels_outbound: int = 0
    """Gauge: outbound tunnels that exist now."""
    tunnels_inbound: int = 0
    """Gauge: inbound tunnels that exist now."""
    streams_asked: int = 0
    """Streams that connections asked the pool for."""
    streams_on_pooled_tunnels: int = 0
    """Of these, those on a tunnel that was there: with `streams_asked`, the reuse ratio."""
    pool_waits: int = 0
    """Times that a connection waited for somebody else's opening, or for its turn to open."""
    pool_waits_ns: int = 0
    """How long all of them waited together."""
    streams_opened: int = 0
    """Outbound CONNECTs that got 200."""
    connects_received: int = 0
    """Inbound CONNECTs; each is then accepted, denied or failed."""
    connects_accepted: int = 0
    connects_denied: int = 0
    connects_failed: int = 0
    flagged_deny: int = 0
    """Access lines with the flag DENY."""
    tls_handshakes_client: int = 0
    tls_handshakes_server: int = 0
    tls_handshakes_client_ns: int = 0
    """Time that they took together, from the first byte to the last; the server's likewise."""
    tls_handshakes_server_ns: int = 0
    tls_resumptions: int = 0
    policy_evaluations: int = 0
    route_resolutions: int = 0
    certificates_fetched: int = 0
    bytes_sent: int = 0
    """Payload from the opener of connections to their target, both directions of the proxy together."""
    bytes_received: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    """Tunnels that ended because of what their peer did or failed to do, by kind."""
    background_failures: int = 0
    """Times that background work failed unexpectedly and was started anew."""
    loop_stalls: int = 0
    """Times that the event loop stood still for longer than `telemetry.stalls.STALL_S`."""
    loop_stalled_ns: int = 0

    def snapshot(self) -> dict[str, int]:
        """All plain counters by name."""
        return {name: getattr(self, name) for name in NAMES}


NAMES = tuple(item.name for item in fields(Stats) if item.name != "faults")
GAUGES = frozenset({"tunnels_outbound", "tunnels_inbound"})
