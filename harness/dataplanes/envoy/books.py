"""Envoy's counters in the bench's words. Pure.

Each of ours is read from the one of Envoy's that is counted where the thing happens: tunnels by the
cluster that opens them, streams by its requests, connections by the listener that accepts them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

FILTER = (
    r"^(listener\.(outbound|inbound_plaintext|inbound_hbone)\.(downstream_cx_total|ssl\.(handshake|session_reused))"
    r"|cluster\.(hbone|onward)\.(upstream_(cx|rq)_(total|active|connect_fail|pending_active)"
    r"|ssl\.(handshake|session_reused))"
    r"|http\.inbound\.downstream_(cx_(total|active)|rq_(total|2xx|4xx|5xx|active))"
    r"|tcp\.(hbone|passthrough|plaintext)\.downstream_cx_total)$"
)
"""What of Envoy's some 1,500 counters is fetched."""

UNPROVEN = ("route_resolutions", "policy_evaluations", "policies", "journal")
"""What Envoy does not count, and that it keeps no times of single connections."""


def books(sidecars: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """The node's counters: those of its Envoys together. What one has not counted yet, it leaves out."""
    together: Counter[str] = Counter()
    for each in sidecars:
        together.update(each)
    return {name: count(together) for name, count in _COUNTS.items()}


def _only(key: str) -> Callable[[Counter[str]], int]:
    return lambda found: found[key]


_COUNTS: Mapping[str, Callable[[Counter[str]], int]] = {
    "accepted_outbound": _only("listener.outbound.downstream_cx_total"),
    "accepted_inbound": _only("listener.inbound_hbone.ssl.handshake"),
    "accepted_inbound_plaintext": _only("listener.inbound_plaintext.downstream_cx_total"),
    "completed_outbound_hbone": lambda found: (
        found["cluster.hbone.upstream_rq_total"] - found["cluster.hbone.upstream_rq_active"]
    ),
    "completed_outbound_passthrough": _only("tcp.passthrough.downstream_cx_total"),
    "completed_outbound_denied": lambda _: 0,
    "completed_outbound_failed": lambda found: (
        found["listener.outbound.downstream_cx_total"]
        - found["tcp.hbone.downstream_cx_total"]
        - found["tcp.passthrough.downstream_cx_total"]
    ),
    "streams_opened": _only("cluster.hbone.upstream_rq_total"),
    "connects_received": _only("http.inbound.downstream_rq_total"),
    "connects_accepted": _only("http.inbound.downstream_rq_2xx"),
    "connects_denied": _only("http.inbound.downstream_rq_4xx"),
    "connects_failed": _only("http.inbound.downstream_rq_5xx"),
    "tunnels_opened": _only("cluster.hbone.upstream_cx_total"),
    "tunnels_outbound": _only("cluster.hbone.upstream_cx_active"),
    "tunnels_inbound": _only("http.inbound.downstream_cx_active"),
    "tls_handshakes_client": _only("cluster.hbone.ssl.handshake"),
    "tls_handshakes_server": _only("listener.inbound_hbone.ssl.handshake"),
    "tls_resumptions": lambda found: (
        found["cluster.hbone.ssl.session_reused"] + found["listener.inbound_hbone.ssl.session_reused"]
    ),
}
