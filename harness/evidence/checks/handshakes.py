"""Every tunnel cost a full TLS handshake on both sides; none was resumed (M06)."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Outcome, equal, judge, not_applicable


def check(case: Case) -> Outcome:
    """Full handshakes equal tunnels, per proxy and side; resumptions are 0."""
    if not case.tunnels.nodes:
        return not_applicable("no proxy runs in this testbed")
    laws = []
    for node in sorted(case.tunnels.nodes):
        opened = case.tunnels.growth(node, "tunnels_opened")
        accepted = case.tunnels.growth(node, "accepted_inbound")
        laws += [
            equal(
                f"proxy {node} tls_handshakes_client",
                case.tunnels.growth(node, "tls_handshakes_client"),
                opened,
                f"{opened} tunnels opened",
            ),
            equal(
                f"proxy {node} tls_handshakes_server",
                case.tunnels.growth(node, "tls_handshakes_server"),
                accepted,
                f"{accepted} tunnels accepted",
            ),
            equal(
                f"proxy {node} tls_resumptions",
                case.tunnels.growth(node, "tls_resumptions"),
                0,
                "tickets are off: every handshake is a full one",
            ),
        ]
    return judge(laws)
