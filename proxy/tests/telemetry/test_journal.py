"""The journal of completed connections: bounded, off until asked for, and cheap."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from time import perf_counter_ns

from proxy.telemetry import ConnectionRecord, Direction, Stats, Telemetry
from proxy.telemetry.journal import FIELDS, Journal

WARM_FIRST_BYTE_NS = 400_000
"""Less than any warm first byte through two of these proxies ever took."""


def record(port: int = 40000) -> ConnectionRecord:
    made = ConnectionRecord(
        direction=Direction.OUTBOUND, source_address=(ip_address("10.0.1.2"), port), accepted_ns=10**15
    )
    made.phases.route_ns = made.accepted_ns + 500
    made.phases.tunnel_ns = made.accepted_ns - 7
    return made


def test_a_row_tells_when_each_step_was_reached() -> None:
    journal = Journal()
    journal.open(1)
    journal.add(record())

    taken = journal.take()

    assert taken["fields"] == list(FIELDS)
    found = dict(zip(FIELDS, taken["rows"][0], strict=True))  # type: ignore[index]
    assert (found["source"], found["accepted_ns"]) == ("10.0.1.2:40000", 10**15)
    assert (found["route_ns"], found["tunnel_ns"], found["policy_ns"]) == (500, -7, None)


def test_off_keeps_nothing() -> None:
    telemetry = Telemetry(Stats())
    telemetry.complete(record())

    assert telemetry.journal.take()["rows"] == []


def test_own_end_is_noted_for_a_journal_alone() -> None:
    telemetry, noted = Telemetry(Stats()), record()
    with socket.create_server(("127.0.0.1", 0)) as server:
        telemetry.note_own_end(noted, server)
        assert noted.own_end is None
        telemetry.journal.open(1)
        telemetry.note_own_end(noted, server)

        assert noted.own_end == (ip_address("127.0.0.1"), server.getsockname()[1])


def test_what_finds_no_room_is_counted() -> None:
    journal = Journal()
    journal.open(2)
    for port in range(5):
        journal.add(record(port))

    taken = journal.take()

    assert len(taken["rows"]) == 2  # type: ignore[arg-type]
    assert taken["lost"] == 3
    assert journal.take() == {"fields": list(FIELDS), "rows": [], "lost": 0}
    assert journal.room == 2


def test_opening_anew_forgets() -> None:
    journal = Journal()
    journal.open(1)
    journal.add(record())
    journal.add(record())
    journal.open(0)

    assert journal.take() == {"fields": list(FIELDS), "rows": [], "lost": 0}


def test_a_journal_costs_less_than_three_percent_of_a_warm_first_byte() -> None:
    """What it adds to a connection, all of it: asking for one address, noting it, keeping the record.

    Only the address is asked for before the first byte; the rest is done when the connection has ended.
    """
    telemetry = Telemetry(Stats())
    records = [record() for _ in range(2000)]
    with socket.create_server(("127.0.0.1", 0)) as server:

        def added_ns(room: int) -> float:
            telemetry.journal.open(room)
            begun = perf_counter_ns()
            for each in records:
                telemetry.note_own_end(each, server)
                if telemetry.journal.room:
                    telemetry.journal.add(each)
            return (perf_counter_ns() - begun) / len(records)

        # interleaved, and the least of each: what others on the machine add is none of the journal's
        pairs = [(added_ns(len(records)), added_ns(0)) for _ in range(20)]
    on, off = (min(each) for each in zip(*pairs, strict=True))

    assert (on - off) / WARM_FIRST_BYTE_NS < 0.03
