"""The access line, against ztunnel's."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from proxy.config import LogFormat
from proxy.identity.spiffe import SpiffeId
from proxy.telemetry import ConnectionRecord, Direction, Flag, Outcome, Stats, Telemetry
from proxy.telemetry.access import fields, plain
from proxy.telemetry.logs import Json, Plain, configure, set_levels
from proxy.telemetry.record import Claims
from proxy.tests.mesh import service, workload

CLIENT = workload("client", "10.0.1.2", cluster="Kubernetes")
SERVER = workload("server", "10.0.2.2", cluster="Kubernetes")


def record(direction: Direction = Direction.OUTBOUND) -> ConnectionRecord:
    return ConnectionRecord(
        direction=direction,
        source_address=(ip_address("10.0.1.2"), 40000),
        destination_address=(ip_address("10.0.2.2"), 15008),
        hbone_address="10.0.2.2:8080",
        source=CLIENT,
        source_identity=CLIENT.identity,
        destination=SERVER,
        destination_identity=SERVER.identity,
        service=service("web", "10.96.0.1"),
        outcome=Outcome.HBONE,
        bytes_sent=80,
        bytes_received=175,
        accepted_ns=1_000_000_000,
        ended_ns=1_013_999_999,
    )


def lines(
    form: LogFormat,
    *records: ConnectionRecord,
    levels: tuple[tuple[str, int], ...] = (),
    opened: bool = True,
) -> list[str]:
    """What a telemetry of its own writes for the records; `opened`: they were known before they ended."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Json() if form is LogFormat.JSON else Plain())
    root = logging.getLogger()
    root.addHandler(handler)
    set_levels((("", logging.INFO), *levels))
    telemetry = Telemetry(Stats())
    try:
        for item in records:
            if opened:
                telemetry.opened(item)
            telemetry.complete(item)
    finally:
        root.removeHandler(handler)
    return stream.getvalue().splitlines()


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    root = logging.getLogger()
    before, handlers = root.level, root.handlers
    yield
    root.setLevel(before)
    root.handlers = handlers
    for name in ("access", "phases"):
        logging.getLogger(name).setLevel(logging.NOTSET)


def test_an_outbound_line_is_ztunnels() -> None:
    assert fields(record()) == {
        "src.addr": "10.0.1.2:40000",
        "src.workload": "client",
        "src.namespace": "ns",
        "src.identity": "spiffe://cluster.local/ns/ns/sa/client",
        "src.cluster": "Kubernetes",
        "dst.addr": "10.0.2.2:15008",
        "dst.hbone_addr": "10.0.2.2:8080",
        "dst.service": "web.ns.svc.cluster.local",
        "dst.workload": "server",
        "dst.namespace": "ns",
        "dst.identity": "spiffe://cluster.local/ns/ns/sa/server",
        "dst.cluster": "Kubernetes",
        "direction": "outbound",
        "bytes_sent": 80,
        "bytes_recv": 175,
        "duration": "13ms",
    }


def test_bytes_are_as_the_pod_of_the_line_sees_them() -> None:
    found = fields(record(Direction.INBOUND))

    assert (found["bytes_sent"], found["bytes_recv"]) == (175, 80)


def test_without_tls_no_identity_is_claimed() -> None:
    plain = record()
    plain.hbone_address = None

    assert "src.identity" not in fields(plain)
    assert "dst.identity" not in fields(plain)


def test_the_plain_form() -> None:
    (line,) = lines(LogFormat.PLAIN, record())

    time, level, scope, message, given = line.split("\t")
    assert time.endswith("Z")
    assert (level, scope, message) == ("info", "access", "connection complete")
    assert given.startswith('src.addr=10.0.1.2:40000 src.workload="client" src.namespace="ns" ')
    assert 'bytes_sent=80 bytes_recv=175 duration="' in given


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"direction": Direction.INBOUND, "error": 'of "peers"\n', "flag": Flag.DENY, "policy": "ns/strict"},
        {"hbone_address": None, "service": None, "destination_address": None},
        {"source": None, "destination": None, "source_identity": None, "error": ""},
        {"dry_run": "explicitly denied by: bench/rehearsed", "trace_id": "ab" * 16, "ended_ns": None},
        {"source_address": (ip_address("fd00::1"), 1)},
        {"source": None, "claims": Claims(workload_name='of "peers"', cluster="c9")},
    ],
)
def test_the_plain_form_says_what_the_fields_say(changes: dict[str, object]) -> None:
    """Every field, in order, quoted as any other line's, though what repeats is written once."""
    changed = record()
    for name, value in changes.items():
        setattr(changed, name, value)
    by_field = logging.makeLogRecord({"name": "access", "fields": fields(changed)})

    assert Plain().format(by_field).split("\t")[-1] == plain(changed)


def test_an_error_is_an_error_line_with_flag_and_policy() -> None:
    denied = record(Direction.INBOUND)
    denied.error = 'policy "said"\nno'
    denied.flag, denied.failed = Flag.DENY, True
    denied.policy = "ns/strict"

    (line,) = lines(LogFormat.PLAIN, denied)

    assert line.split("\t")[1:4] == ["error", "access", "connection complete"]
    assert line.endswith('error="policy \\"said\\"\\nno" flag="DENY" policy="ns/strict"')


def test_an_apps_reset_is_told_and_is_no_error() -> None:
    """As in ztunnel, whose copy takes resets for ends."""
    ended = record()
    ended.error = "near-reset: Connection reset by peer"

    (line,) = lines(LogFormat.PLAIN, ended)

    assert line.split("\t")[1] == "info"
    assert ' error="near-reset: Connection reset by peer"' in line


def test_what_is_turned_away_early_is_a_warning() -> None:
    """ztunnel log_early_deny."""
    turned_away = ConnectionRecord(
        direction=Direction.INBOUND,
        source_address=(ip_address("10.0.1.2"), 40000),
        destination_address=(ip_address("10.0.2.2"), 15008),
        error="peer presented no certificate",
        failed=True,
        flag=Flag.TLS_FAILURE,
    )

    (line,) = lines(LogFormat.PLAIN, turned_away, opened=False)

    assert line.split("\t")[1:4] == ["warn", "access", "connection failed"]
    assert line.split("\t")[4].startswith(
        'src.addr=10.0.1.2:40000 dst.addr=10.0.2.2:15008 direction="inbound"'
    )
    assert line.endswith('error="peer presented no certificate" flag="TLS_FAILURE"')


def test_the_beginning_is_told_for_debugging_and_without_an_end() -> None:
    begun = record()
    begun.ended_ns = None

    first, second = lines(LogFormat.PLAIN, begun, levels=(("access", logging.DEBUG),))

    assert first.split("\t")[1:4] == ["debug", "access", "connection opened"]
    assert first.split("\t")[4].startswith("src.addr=10.0.1.2:40000 ")
    assert first.endswith('direction="outbound"')
    assert second.split("\t")[3] == "connection complete"


def test_a_source_that_the_mesh_does_not_know_is_as_its_proxy_says() -> None:
    """P13. What TLS proved is not overruled."""
    stranger = record(Direction.INBOUND)
    stranger.source = None
    stranger.claims = Claims(cluster="c9", namespace="elsewhere", workload_name="far")

    told = fields(stranger)

    assert (told["src.workload"], told["src.namespace"], told["src.cluster"]) == ("far", "ns", "c9")
    assert told["src.identity"] == "spiffe://cluster.local/ns/ns/sa/client"


def test_the_json_form() -> None:
    (line,) = lines(LogFormat.JSON, record())

    found = json.loads(line)
    assert (found["level"], found["scope"], found["message"]) == ("info", "access", "connection complete")
    assert (found["src.workload"], found["bytes_sent"]) == ("client", 80)


def test_levels_by_logger() -> None:
    assert lines(LogFormat.PLAIN, record(), levels=(("access", logging.ERROR),)) == []


def test_phases_are_written_on_demand_and_join_by_trace() -> None:
    timed = record()
    timed.trace_id = "ab" * 16
    timed.phases.route_ns = timed.accepted_ns + 500

    _, line = lines(LogFormat.JSON, timed, levels=(("phases", logging.INFO),))

    found = json.loads(line)
    assert found["scope"] == "phases"
    assert (found["trace"], found["route_ns"]) == ("ab" * 16, 500)
    assert "tls_ns" not in found


def test_a_traceback_stays_one_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    configure(LogFormat.JSON, (("", logging.INFO),))
    try:
        raise ValueError("x")
    except ValueError:
        logging.getLogger("proxy.pool").exception("failed")

    logging.shutdown()
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert (found["level"], found["scope"], found["message"]) == ("error", "pool", "failed")
    assert "ValueError: x" in found["traceback"]


def test_the_plaintext_peer_is_nobody() -> None:
    unknown = ConnectionRecord(
        direction=Direction.INBOUND,
        source_address=(ip_address("fd00::1"), 1),
        source_identity=SpiffeId("td", "a", "b"),
    )

    assert fields(unknown)["src.addr"] == "[fd00::1]:1"
    assert "src.identity" not in fields(unknown)
    assert "dst.addr" not in fields(unknown)


def test_the_line_says_who_decided_and_what_a_dry_run_would_have_decided() -> None:
    judged = record(Direction.INBOUND)
    judged.policy, judged.dry_run = "bench/allow", "explicitly denied by: bench/rehearsed"

    found = fields(judged)

    assert found["policy"] == "bench/allow"
    assert found["dry_run"] == "explicitly denied by: bench/rehearsed"
