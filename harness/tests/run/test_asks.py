"""What a bout asks of the load processes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from ipaddress import IPv4Address
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Any, cast

import pytest

from harness.plan.model import Cell, Configuration, Interception, Load, Path, Reuse
from harness.run.asks import Ask, Way, asks
from harness.topology.model import APP_PORT, SOURCE_PORT, Host, Pod

if TYPE_CHECKING:
    from harness.testbed.lane import Lane

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


@dataclass(frozen=True)
class OnlyLane:
    """A lane of which only the number and the proxies' sockets matter."""

    number: int

    def bench(self) -> dict[str, FilePath]:
        return {node: FilePath(f"/run/{self.number}/{node}") for node in "ab"}


def _way(
    lane: int = 1, reuse: Reuse = Reuse.ON, path: Path = Path.CROSS_NODE, target: Pod | Host = SERVER
) -> Way:
    configuration = Configuration(
        path=path, dataplane="pyztunnel", interception=Interception.REDIRECT, reuse=reuse
    )
    return Way(
        cell=Cell(index=2 + lane, round=1, bout=0, lane=lane, configuration=configuration),
        lane=cast("Lane", OnlyLane(lane)),
        source=replace(CLIENT, lane=lane),
        target=target,
        sockets="/run/x/sockets",
    )


def _asks(
    load: Load = LOAD, reuse: Reuse = Reuse.ON, path: Path = Path.CROSS_NODE, target: Pod | Host = SERVER
) -> list[Ask]:
    return list(asks([_way(1, reuse, path, target)], load, seed="7/1/0"))


def _lane(ask: Ask) -> dict[str, Any]:
    """What is asked of the bout's only lane."""
    (lane,) = ask.arguments["lanes"]
    found: dict[str, Any] = lane
    return found


def test_load_comes_out_of_the_client_pods_namespace() -> None:
    for ask in _asks():
        assert (_lane(ask)["namespace"], _lane(ask)["sockets"]) == ("pod-1-client", "/run/x/sockets")
        assert _lane(ask)["source"] == "10.244.0.2"


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

    assert expected == [(state["state"], state["op"]) for state in _lane(probe)["states"]]


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
    assert {"state", "count", "op"} == {key for state in _lane(probe)["states"] for key in state}


def test_requests_go_to_the_backend_and_bulk_to_its_source() -> None:
    probe, requests, transfer = _asks()

    assert APP_PORT == _lane(probe)["target"]["port"] == _lane(requests)["target"]["port"]
    assert _lane(transfer)["target"]["port"] == SOURCE_PORT


def test_a_host_outside_the_mesh_has_no_node() -> None:
    probe = _asks(path=Path.OUT_OF_MESH, target=OUTSIDE)[0]

    assert _lane(probe)["target"] == {
        "address": "172.30.0.9",
        "port": APP_PORT,
        "pod": "outside",
        "node": "",
    }


def test_all_lanes_of_a_bout_are_asked_at_once_each_for_its_own() -> None:
    """One process drives them, so that the generator is the same for all."""
    found = list(asks([_way(2), _way(5, Reuse.OFF)], LOAD, seed="7/1/0"))

    assert [ask.stage for ask in found] == ["probe", "requests", "transfer"]
    for ask in found:
        assert [2, 5] == [lane["lane"] for lane in ask.arguments["lanes"]]
        assert ["pod-2-client", "pod-5-client"] == [lane["namespace"] for lane in ask.arguments["lanes"]]
    probe = found[0]
    assert ["cold", "warm"] == [state["state"] for state in probe.of(2)["states"]]
    assert ["cold"] == [state["state"] for state in probe.of(5)["states"]]
    assert ["/run/5/a", "/run/5/b"] == probe.of(5)["bench_sockets"]
    assert "lanes" not in probe.of(2)


def test_every_stage_has_a_seed_of_its_own() -> None:
    """The order of turns is drawn by it: the same one would give each stage the same order."""
    seeds = [ask.arguments["seed"] for ask in _asks()]

    assert ["7/1/0/probe", "7/1/0/requests", "7/1/0/transfer"] == seeds
