"""Counters as plain integers: incremented in place by whoever does the thing, read at any time."""

from __future__ import annotations

from dataclasses import dataclass, fields


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
    streams_opened: int = 0
    """Outbound CONNECTs that got 200."""
    connects_received: int = 0
    """Inbound CONNECTs; each is then accepted, denied or failed."""
    connects_accepted: int = 0
    connects_denied: int = 0
    connects_failed: int = 0
    tls_handshakes_client: int = 0
    tls_handshakes_server: int = 0
    tls_resumptions: int = 0
    policy_evaluations: int = 0
    route_resolutions: int = 0
    certificates_fetched: int = 0
    bytes_sent: int = 0
    """Payload from the opener of connections to their target, both directions of the proxy together."""
    bytes_received: int = 0

    def snapshot(self) -> dict[str, int]:
        """All counters by name."""
        return {name: getattr(self, name) for name in NAMES}


NAMES = tuple(item.name for item in fields(Stats))
GAUGES = frozenset({"tunnels_outbound", "tunnels_inbound"})
