"""Counting connections, and what a scrape shows."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from ipaddress import ip_address

import pytest

from proxy.state.model import Locality
from proxy.telemetry import ConnectionRecord, Direction, Flag, Outcome, Stats, Telemetry
from proxy.telemetry.record import Claims
from proxy.telemetry.traffic import Table
from proxy.tests.mesh import service, workload
from proxy.tests.scrapes import scraped, value
from proxy.tests.telemetry import test_access

OPENED, CLOSED = "istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total"
FAILED = "istio_tcp_connections_failed_total"
SENT, RECEIVED = "istio_tcp_sent_bytes_total", "istio_tcp_received_bytes_total"


class Carrying:
    """A relay as the telemetry sees it."""

    first_sent_ns: int | None = None
    first_received_ns: int | None = None

    def __init__(self, sent: int = 0, received: int = 0) -> None:
        self.sent = sent
        self.received = received


def record(direction: Direction = Direction.OUTBOUND) -> ConnectionRecord:
    """A connection that is known and has carried nothing."""
    return replace(test_access.record(direction), bytes_sent=0, bytes_received=0)


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


def test_open_then_closed_as_ztunnel_counts() -> None:
    """test_tcp_connections_metrics."""
    telemetry, item = Telemetry(Stats()), record()

    telemetry.opened(item)
    open_now = scraped(telemetry)
    telemetry.complete(item)
    closed = scraped(telemetry)

    assert (value(open_now, OPENED), value(open_now, CLOSED)) == (1, 0)
    assert (value(closed, OPENED), value(closed, CLOSED)) == (1, 1)
    assert FAILED not in closed
    assert not telemetry.live


def test_replicas_of_one_deployment_are_one_series_with_the_sum() -> None:
    """P04: their labels are the same, so they are counted together."""
    telemetry = Telemetry(Stats())
    for number in range(3):
        item = record()
        item.destination = workload(
            f"web-{number}", f"10.0.2.{number}", workload_name="web", service_account="web"
        )
        telemetry.opened(item)
        item.carrier = Carrying(10, 20)
        telemetry.complete(item)

    found = scraped(telemetry)

    for name, expected in ((OPENED, 3), (CLOSED, 3), (RECEIVED, 30), (SENT, 60)):
        assert [amount for _, amount in found[name]] == [expected]


def test_labels_that_change_are_another_series() -> None:
    """P04: a new revision of a pod is not counted as the old one."""
    telemetry = Telemetry(Stats())
    for revision in ("v1", "v2"):
        item = record()
        item.destination = workload("web-1", "10.0.2.1", workload_name="web", canonical_revision=revision)
        telemetry.opened(item)

    found = scraped(telemetry)

    for revision in ("v1", "v2"):
        assert value(found, OPENED, destination_version=revision) == 1


def test_bytes_move_while_the_connection_lives_and_are_counted_once() -> None:
    """P06."""
    telemetry, item = Telemetry(Stats()), record()
    telemetry.opened(item)
    item.carrier = carrying = Carrying()
    seen = []
    for sent in (100, 250):
        carrying.sent, carrying.received = sent, 2 * sent
        found = scraped(telemetry)
        seen.append((value(found, RECEIVED), value(found, SENT), telemetry.stats.bytes_sent))
    carrying.sent += 1
    telemetry.complete(item)
    found = scraped(telemetry)

    assert seen == [(100, 200, 100), (250, 500, 250)]
    assert (value(found, RECEIVED), value(found, SENT)) == (251, 500)
    assert (telemetry.stats.bytes_sent, telemetry.stats.bytes_received) == (251, 500)
    assert (item.bytes_sent, item.bytes_received) == (251, 500)


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


def test_a_connection_that_fails_is_closed_and_failed_under_its_flag() -> None:
    """ztunnel counts the attempt, so that a refusal is opened, closed and failed."""
    telemetry, item = Telemetry(Stats()), record(Direction.INBOUND)
    telemetry.opened(item)
    item.flag = Flag.DENY

    telemetry.complete(item)

    found = scraped(telemetry)
    assert value(found, OPENED, response_flags="-") == 1
    for name in (CLOSED, FAILED):
        assert value(found, name, response_flags="DENY") == value(found, name) == 1
    assert telemetry.stats.flagged_deny == 1


def test_what_was_turned_away_before_it_was_known_is_no_connection() -> None:
    """ztunnel log_early_deny: a line, and no series."""
    telemetry, item = Telemetry(Stats()), record(Direction.INBOUND)
    item.failed, item.flag = True, Flag.TLS_FAILURE

    telemetry.complete(item)

    assert not {OPENED, CLOSED, FAILED} & scraped(telemetry).keys()


def test_accepted_sockets_are_open_from_accept_to_close() -> None:
    telemetry = Telemetry(Stats())

    with telemetry.accepted(Direction.INBOUND), telemetry.accepted(Direction.INBOUND):
        during = scraped(telemetry)["istio_tcp_sockets_open"]
    after = scraped(telemetry)["istio_tcp_sockets_open"]

    assert during == [({"reporter": "source"}, 0), ({"reporter": "destination"}, 2)]
    assert after == [({"reporter": "source"}, 0), ({"reporter": "destination"}, 0)]


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


def test_live_connections_are_asked_in_slices_between_which_others_have_their_turn() -> None:
    telemetry = Telemetry(Stats())
    for _ in range(2000):
        item = replace(record(), carrier=Carrying(1, 1))
        telemetry.opened(item)

    async def turns() -> int:
        settling = asyncio.ensure_future(telemetry.settle())
        count = 0
        while not settling.done():
            await asyncio.sleep(0)
            count += 1
        return count

    assert asyncio.run(turns()) > 2000 / 256
    assert telemetry.stats.bytes_sent == 2000


def test_a_scrape_shows_our_counters_and_the_process() -> None:
    telemetry = Telemetry(Stats(tunnels_opened=3, tunnels_outbound=2))

    found = scraped(
        telemetry, {"workload_manager_active_proxy_count": 4, "workload_manager_proxies_started_total": 5}
    )

    assert found["pyztunnel_tunnels_opened_total"] == [({}, 3.0)]
    assert found["pyztunnel_tunnels_outbound"] == [({}, 2.0)]
    assert found["workload_manager_active_proxy_count"] == [({}, 4.0)]
    assert found["workload_manager_proxies_started_total"] == [({}, 5.0)]
    assert found["istio_build"][0][0]["component"] == "pyztunnel"
    for name in ("open_fds", "max_fds", "resident_memory_bytes", "cpu_seconds_total"):
        assert found[f"process_{name}"][0][1] > 0
