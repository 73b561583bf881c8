"""Counting connections, and what a scrape shows."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from proxy.telemetry import ConnectionRecord, Direction, Flag, Outcome, Stats, Telemetry
from proxy.tests.mesh import workload
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
