"""Labels, and how many kinds of traffic are told apart."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from proxy.state.model import Locality
from proxy.telemetry import ConnectionRecord, Direction, Stats, Telemetry
from proxy.telemetry.record import Claims
from proxy.telemetry.traffic import Table
from proxy.tests.mesh import service, workload
from proxy.tests.scrapes import scraped, value
from proxy.tests.telemetry.test_access import record

OPENED = "istio_tcp_connections_opened_total"


def test_a_destination_without_an_account_has_no_principal() -> None:
    telemetry, item = Telemetry(Stats()), record()
    item.destination = workload("server", "10.0.2.2", service_account="", workload_name="entry")
    telemetry.opened(item)

    found = scraped(telemetry)

    assert value(found, OPENED, destination_workload="entry", destination_principal="unknown") == 1


def test_labels_are_ztunnels() -> None:
    telemetry = Telemetry(Stats())
    item = record(Direction.INBOUND)
    item.source = workload(
        "client",
        "10.0.1.2",
        workload_name="client-v1",
        canonical_name="cl",
        canonical_revision="v1",
        locality=Locality(region="r1", zone="z1"),
    )
    telemetry.opened(item)

    ((labels, _),) = scraped(telemetry)[OPENED]

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
        "source_region": "r1",
        "source_zone": "z1",
        "destination_region": "unknown",
        "destination_zone": "unknown",
    }


def test_claims_label_a_source_that_the_mesh_does_not_know_and_overrule_nothing() -> None:
    """P13: what TLS proved stays, and so does what the mesh says."""
    telemetry = Telemetry(Stats())
    known, unknown = record(Direction.INBOUND), record(Direction.INBOUND)
    for item in (known, unknown):
        item.claims = Claims(cluster="c9", namespace="elsewhere", workload_name="liar", canonical_name="it")
    unknown.source = None
    for item in (known, unknown):
        telemetry.opened(item)

    found = scraped(telemetry)

    assert value(found, OPENED, source_workload="liar", source_cluster="c9", source_app="liar") == 1
    assert value(found, OPENED, source_canonical_service="it", source_workload_namespace="ns") == 1
    assert value(found, OPENED, source_principal="spiffe://cluster.local/ns/ns/sa/client") == 2
    assert value(found, OPENED, source_workload_namespace="elsewhere") == 0
    assert value(found, OPENED, source_workload="unknown", source_cluster="Kubernetes") == 1


def test_any_text_of_a_peer_is_a_label_that_a_parser_reads() -> None:
    telemetry, item = Telemetry(Stats()), record(Direction.INBOUND)
    item.source, item.claims = None, Claims(workload_name='a"b\\c{}=,', canonical_name="\\n")
    telemetry.opened(item)

    found = scraped(telemetry)

    assert value(found, OPENED, source_workload='a"b\\c{}=,', source_canonical_service="\\n") == 1


def churned(count: int, *, live: bool) -> Telemetry:
    """As many kinds of traffic, one after another."""
    telemetry = Telemetry(Stats())
    for number in range(count):
        item = ConnectionRecord(
            direction=Direction.INBOUND,
            source_address=(ip_address("10.0.0.1"), 1),
            service=service(f"s{number}", "10.96.0.1"),
        )
        telemetry.opened(item)
        if not live:
            telemetry.complete(item)
    return telemetry


def test_churn_forgets_the_series_that_was_longest_unused(monkeypatch: pytest.MonkeyPatch) -> None:
    """P04, I5: pods that come and go fill no memory, and what is still used keeps its name."""
    monkeypatch.setattr(Table, "ROOM", 10)

    telemetry = churned(50, live=False)

    names = [labels["destination_service_name"] for labels, _ in scraped(telemetry)[OPENED]]
    assert names == [f"s{number}" for number in range(40, 50)]


def test_what_is_live_is_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """P04, I5: the rest is summed under one name more."""
    monkeypatch.setattr(Table, "ROOM", 10)

    telemetry = churned(50, live=True)

    found = scraped(telemetry)
    assert len(telemetry.traffic) == 11
    assert value(found, OPENED) == 50
    assert value(found, OPENED, destination_service_name="unknown") == 40


def test_peers_that_make_labels_up_crowd_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """P04, I5: beyond their share, what they claim is unknown."""
    monkeypatch.setattr(Table, "CLAIMED_ROOM", 3)
    telemetry = Telemetry(Stats())
    honest = record(Direction.INBOUND)
    telemetry.opened(honest)
    telemetry.complete(honest)

    for number in range(20):
        item = record(Direction.INBOUND)
        item.source, item.claims = None, Claims(workload_name=f"w{number}")
        telemetry.opened(item)
        telemetry.complete(item)

    found = scraped(telemetry)
    assert len(telemetry.traffic) == 1 + 3 + 1
    assert value(found, OPENED, source_workload="unknown", source_cluster="unknown") == 17
    assert value(found, OPENED, source_principal="spiffe://cluster.local/ns/ns/sa/client") == 21
