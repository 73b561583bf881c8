"""Envoy's counters in the bench's words."""

from __future__ import annotations

import re

from harness.dataplanes.envoy.books import FILTER, UNPROVEN, books
from harness.evidence.checks import connections, decisions

CLIENT = {
    "listener.outbound.downstream_cx_total": 9,
    "tcp.hbone.downstream_cx_total": 6,
    "tcp.passthrough.downstream_cx_total": 2,
    "cluster.hbone.upstream_cx_total": 2,
    "cluster.hbone.upstream_cx_active": 1,
    "cluster.hbone.upstream_rq_total": 6,
    "cluster.hbone.upstream_rq_active": 1,
    "cluster.hbone.ssl.handshake": 2,
}
SERVER = {
    "listener.inbound_hbone.ssl.handshake": 2,
    "listener.inbound_hbone.ssl.session_reused": 1,
    "http.inbound.downstream_cx_active": 1,
    "http.inbound.downstream_rq_total": 6,
    "http.inbound.downstream_rq_2xx": 5,
    "http.inbound.downstream_rq_4xx": 1,
}


def test_a_nodes_books_are_those_of_its_envoys_together() -> None:
    counted = books([CLIENT, SERVER])

    assert {
        "accepted_outbound": 9,
        "accepted_inbound": 2,
        "completed_outbound_hbone": 5,
        "completed_outbound_passthrough": 2,
        "completed_outbound_failed": 1,
        "streams_opened": 6,
        "connects_received": 6,
        "connects_accepted": 5,
        "connects_denied": 1,
        "tunnels_opened": 2,
        "tunnels_outbound": 1,
        "tunnels_inbound": 1,
        "tls_handshakes_client": 2,
        "tls_handshakes_server": 2,
        "tls_resumptions": 1,
    }.items() <= counted.items()


def test_a_node_without_envoys_has_empty_books() -> None:
    assert set(books([]).values()) == {0}


def test_every_counter_that_is_read_is_fetched() -> None:
    assert [name for name in (*CLIENT, *SERVER) if not re.search(FILTER, name)] == []


def test_the_books_hold_whatever_checks_ask_for_or_say_that_they_cannot() -> None:
    assert {*connections.COUNTERS, *decisions.COUNTERS} <= {*books([]), *UNPROVEN}
    assert not set(books([])) & set(UNPROVEN)
