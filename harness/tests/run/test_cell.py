"""What a cell asks of the load processes."""

from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from harness.plan.model import Cell, Configuration, Interception, Load, Path, Reuse
from harness.run.cell import Ask, asks
from harness.topology.model import APP_PORT, SOURCE_PORT, Host, Pod

LOAD = Load(
    probes=20,
    later_requests=3,
    gap_ms=5.0,
    later_interval_ms=2.0,
    rate_hz=0.0,
    rate_s=0.0,
    rate_connections=4,
    requests_connections=8,
    requests_s=0.5,
    transfer_streams=2,
    transfer_s=0.25,
    response_bytes=128,
)
CLIENT = Pod(
    name="client",
    node="a",
    address=IPv4Address("10.244.0.2"),
    namespace="bench",
    service_account="client",
    captured=True,
    client=True,
)
SERVER = replace(CLIENT, name="server", node="b", address=IPv4Address("10.244.1.2"), client=False)
OUTSIDE = Host(name="outside", address=IPv4Address("172.30.0.9"))


def _asks(
    load: Load = LOAD, reuse: Reuse = Reuse.ON, path: Path = Path.CROSS_NODE, target: Pod | Host = SERVER
) -> list[Ask]:
    configuration = Configuration(
        path=path, dataplane="pyztunnel", interception=Interception.REDIRECT, reuse=reuse
    )
    cell = Cell(index=3, round=1, configuration=configuration)
    return list(asks(cell, load, CLIENT, target, bench_sockets=["/run/a", "/run/b"]))


@pytest.mark.parametrize(
    ("reuse", "path", "expected"),
    [
        (Reuse.ON, Path.CROSS_NODE, [("cold", "drop-tunnels"), ("warm", "nothing")]),
        (Reuse.OFF, Path.CROSS_NODE, [("cold", "drop-tunnels")]),
        (Reuse.ON, Path.OUT_OF_MESH, [("new", "nothing")]),
    ],
)
def test_only_states_that_exist_are_probed(reuse: Reuse, path: Path, expected: list[tuple[str, str]]) -> None:
    probe = _asks(reuse=reuse, path=path)[0]

    assert expected == [(state["state"], state["op"]) for state in probe.arguments["states"]]


def test_stages_come_in_order_and_those_of_no_length_are_left_out() -> None:
    assert [ask.stage for ask in _asks()] == ["probe", "requests", "transfer"]
    assert [ask.stage for ask in _asks(replace(LOAD, rate_hz=100.0, rate_s=0.3))] == [
        "probe",
        "rate",
        "requests",
        "transfer",
    ]
    assert [ask.stage for ask in _asks(replace(LOAD, requests_s=0.0, transfer_s=0.0))] == ["probe"]
    more = replace(LOAD, rtt_s=0.2, alone_s=0.2, connects_s=0.2)
    assert [ask.stage for ask in _asks(more)][3:] == ["rtt", "requests-alone", "transfer-alone", "connects"]


def test_alone_means_on_one_connection() -> None:
    alone = {ask.stage: ask.arguments for ask in _asks(replace(LOAD, alone_s=0.2))}

    assert alone["requests-alone"]["connections"] == alone["transfer-alone"]["streams"] == 1


def test_every_state_is_probed_with_the_same_gap() -> None:
    """M37: an uneven pace is itself a difference between states."""
    probe = _asks()[0]

    assert probe.arguments["gap_ns"] == 5_000_000
    assert {"state", "count", "op"} == {key for state in probe.arguments["states"] for key in state}


def test_requests_go_to_the_backend_and_bulk_to_its_source() -> None:
    probe, requests, transfer = _asks()

    assert APP_PORT == probe.arguments["target"]["port"] == requests.arguments["target"]["port"]
    assert transfer.arguments["target"]["port"] == SOURCE_PORT


def test_a_host_outside_the_mesh_has_no_node() -> None:
    probe = _asks(path=Path.OUT_OF_MESH, target=OUTSIDE)[0]

    assert probe.arguments["target"] == {
        "address": "172.30.0.9",
        "port": APP_PORT,
        "pod": "outside",
        "node": "",
    }
