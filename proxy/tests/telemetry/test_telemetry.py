"""Counting connections, and what a scrape shows."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from prometheus_client.parser import text_string_to_metric_families

from proxy.telemetry import ConnectionRecord, Direction, Flag, Outcome, Stats, Telemetry
from proxy.telemetry.metrics import Metrics
from proxy.tests.mesh import service, workload
from proxy.tests.telemetry.test_access import record

Samples = dict[str, list[tuple[dict[str, str], float]]]


def samples(telemetry: Telemetry, gauges: dict[str, int] | None = None) -> Samples:
    text = Metrics(telemetry, lambda: gauges or {}).render().decode()
    found: Samples = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


def test_a_connection_is_completed_exactly_once() -> None:
    telemetry, item = Telemetry(Stats()), record()
    telemetry.complete(item)

    with pytest.raises(RuntimeError, match="completed twice"):
        telemetry.complete(item)
    assert telemetry.stats.completed_outbound_hbone == 1


@pytest.mark.parametrize("outcome", list(Outcome))
@pytest.mark.parametrize("direction", list(Direction))
def test_outcomes_are_counted_for_outbound_alone(outcome: Outcome, direction: Direction) -> None:
    telemetry, item = Telemetry(Stats()), record(direction)
    item.outcome = outcome

    telemetry.complete(item)

    counted = {
        name: value for name, value in telemetry.stats.snapshot().items() if name.startswith("completed")
    }
    expected = dict.fromkeys(counted, 0)
    if direction is Direction.OUTBOUND:
        expected[f"completed_outbound_{outcome}"] = 1
    assert counted == expected
    assert (telemetry.stats.bytes_sent, telemetry.stats.bytes_received) == (80, 175)


def test_open_then_closed_as_ztunnel_counts() -> None:
    """test_tcp_connections_metrics, test_tcp_bytes_metrics."""
    telemetry, item = Telemetry(Stats()), record()

    telemetry.opened(item)
    open_now = samples(telemetry)
    telemetry.complete(item)
    closed = samples(telemetry)

    assert open_now["istio_tcp_connections_opened_total"][0][1] == 1
    assert open_now["istio_tcp_connections_closed_total"][0][1] == 0
    assert ({"reporter": "source"}, 1.0) in open_now["istio_tcp_sockets_open"]
    assert closed["istio_tcp_connections_closed_total"][0][1] == 1
    assert closed["istio_tcp_connections_failed_total"][0][1] == 0
    assert closed["istio_tcp_received_bytes_total"][0][1] == 80
    assert closed["istio_tcp_sent_bytes_total"][0][1] == 175
    assert ({"reporter": "source"}, 0.0) in closed["istio_tcp_sockets_open"]


def test_labels_are_ztunnels() -> None:
    telemetry = Telemetry(Stats())
    item = record(Direction.INBOUND)
    item.source = workload(
        "client", "10.0.1.2", workload_name="client-v1", canonical_name="cl", canonical_revision="v1"
    )
    telemetry.opened(item)

    ((labels, _),) = samples(telemetry)["istio_tcp_connections_opened_total"]

    assert labels == {
        "reporter": "destination",
        "source_workload": "client-v1",
        "source_canonical_service": "cl",
        "source_canonical_revision": "v1",
        "source_workload_namespace": "ns",
        "source_principal": "spiffe://cluster.local/ns/ns/sa/client",
        "source_app": "cl",
        "source_version": "v1",
        "source_cluster": "unknown",
        "destination_service": "web.ns.svc.cluster.local",
        "destination_service_namespace": "ns",
        "destination_service_name": "web",
        "destination_workload": "unknown",
        "destination_canonical_service": "unknown",
        "destination_canonical_revision": "unknown",
        "destination_workload_namespace": "ns",
        "destination_principal": "spiffe://cluster.local/ns/ns/sa/server",
        "destination_app": "unknown",
        "destination_version": "unknown",
        "destination_cluster": "Kubernetes",
        "request_protocol": "tcp",
        "response_flags": "-",
        "connection_security_policy": "mutual_tls",
    }


def test_a_refused_connection_fails_under_its_flag() -> None:
    telemetry, item = Telemetry(Stats()), record(Direction.INBOUND)
    item.flag = Flag.DENY

    telemetry.complete(item)

    failed = samples(telemetry)["istio_tcp_connections_failed_total"]
    assert [(labels["response_flags"], value) for labels, value in failed] == [("DENY", 1.0)]


def test_kinds_of_traffic_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """I5: a peer that uses many identities does not fill memory with labels."""
    monkeypatch.setattr(Telemetry, "LABEL_SETS", 10)
    telemetry = Telemetry(Stats())

    for number in range(50):
        item = ConnectionRecord(
            direction=Direction.INBOUND,
            source_address=(ip_address("10.0.0.1"), 1),
            service=service(f"s{number}", "10.96.0.1"),
        )
        telemetry.opened(item)
        telemetry.complete(item)

    assert len(telemetry.traffic) <= 11
    assert sum(sums.closed for sums in telemetry.traffic.values()) == 50


def test_a_scrape_shows_our_counters_and_the_process() -> None:
    telemetry = Telemetry(Stats(tunnels_opened=3, tunnels_outbound=2))

    found = samples(
        telemetry, {"workload_manager_active_proxy_count": 4, "workload_manager_proxies_started_total": 5}
    )

    assert found["pyztunnel_tunnels_opened_total"] == [({}, 3.0)]
    assert found["pyztunnel_tunnels_outbound"] == [({}, 2.0)]
    assert found["workload_manager_active_proxy_count"] == [({}, 4.0)]
    assert found["workload_manager_proxies_started_total"] == [({}, 5.0)]
    assert found["process_open_fds"][0][1] > 0
    assert found["istio_build"][0][0]["component"] == "pyztunnel"
