"""What an app can tell of the mesh: nothing, on every path and at every level."""

from __future__ import annotations

import pytest

from harness.control import Channel
from harness.plan.model import Interception, Reuse, SameNode
from harness.tests.e2e.beds import Pods
from harness.topology.model import ECHO_PORT, SINK_PORT

LEVELS = [Interception.NONE, Interception.REDIRECT, Interception.TPROXY, Interception.TPROXY_NOTRACK]
CAPTURING = LEVELS[1:]
TARGETS = {"server-local": "a", "server-remote": "b", "outside": ""}
UNUSED_PORT = 9999
MIB = 1 << 20


@pytest.fixture(params=LEVELS)
def level(request: pytest.FixtureRequest, pods: Pods) -> Interception:
    """Every interception level, in force."""
    chosen: Interception = request.param
    pods.lane.capture(chosen)
    return chosen


@pytest.fixture(params=CAPTURING)
def capturing(request: pytest.FixtureRequest, pods: Pods) -> Interception:
    """Every level at which the proxies are in the path, in force."""
    chosen: Interception = request.param
    pods.lane.capture(chosen)
    return chosen


@pytest.mark.parametrize("target", TARGETS)
def test_the_dialled_pod_answers_and_sees_the_clients_own_address(
    pods: Pods, level: Interception, target: str
) -> None:
    before = pods.stats("a")

    seen = pods.get("client", target)

    assert (target, TARGETS[target]) == (seen["words"]["pod"], seen["words"]["node"])
    assert pods.address("client") == seen["own"]
    assert pods.address("client") == seen["words"]["source"].partition(":")[0]
    intercepted = pods.stats("a")["accepted_outbound"] - before["accepted_outbound"]
    assert (level is not Interception.NONE) == intercepted


def test_a_client_outside_the_mesh_reaches_a_pod_in_it(pods: Pods, level: Interception) -> None:
    before = pods.stats("a")

    seen = pods.get("uncaptured", "server-local")

    assert seen["words"]["pod"] == "server-local"
    assert pods.address("uncaptured") == seen["words"]["source"].partition(":")[0]
    captured = pods.stats("a")["accepted_inbound_plaintext"] - before["accepted_inbound_plaintext"]
    assert (level is not Interception.NONE) == captured


@pytest.mark.parametrize(("reuse", "tunnels"), [(Reuse.ON, 1), (Reuse.OFF, 4), (Reuse.OFF_SERIALISED, 4)])
def test_reuse_decides_how_many_tunnels_four_connections_take(
    pods: Pods, capturing: Interception, reuse: Reuse, tunnels: int
) -> None:
    pods.lane.ask_proxies("configure", reuse=Reuse.OFF.value, same_node=SameNode.HBONE.value)
    pods.get("client", "server-remote")  # what was pooled before is not used again with reuse off
    pods.lane.ask_proxies("configure", reuse=reuse.value, same_node=SameNode.HBONE.value)
    drop(pods)
    before = pods.stats("a")

    for _ in range(4):
        pods.get("client", "server-remote")

    after = pods.stats("a")
    assert tunnels == after["tunnels_opened"] - before["tunnels_opened"]
    assert tunnels == after["tls_handshakes_client"] - before["tls_handshakes_client"]
    assert after["tls_resumptions"] == 0
    assert capturing is pods.lane.placement.interception
    pods.lane.ask_proxies("configure", reuse=Reuse.ON.value, same_node=SameNode.HBONE.value)


def test_same_node_plaintext_takes_no_tunnel(pods: Pods, capturing: Interception) -> None:
    drop(pods)
    pods.lane.ask_proxies("configure", reuse=Reuse.ON.value, same_node=SameNode.PLAINTEXT.value)
    before = pods.stats("a")

    seen = pods.get("client", "server-local")

    after = pods.stats("a")
    assert seen["words"]["pod"] == "server-local"
    assert pods.address("client") == seen["words"]["source"].partition(":")[0]
    assert after["tunnels_opened"] == before["tunnels_opened"]
    assert capturing is pods.lane.placement.interception
    pods.lane.ask_proxies("configure", reuse=Reuse.ON.value, same_node=SameNode.HBONE.value)


@pytest.mark.parametrize("target", TARGETS)
def test_half_close_lets_late_data_through(pods: Pods, capturing: Interception, target: str) -> None:
    seen = pods.do("client", "half_close", address=pods.address(target), port=ECHO_PORT, size=MIB)

    assert seen == {"same": True, "size": MIB}, capturing


@pytest.mark.parametrize("target", TARGETS)
def test_every_byte_arrives_once_and_in_order(pods: Pods, capturing: Interception, target: str) -> None:
    seen = pods.do("client", "sink", address=pods.address(target), port=SINK_PORT, size=8 * MIB)

    assert str(seen["size"]) in seen["said"], capturing
    assert seen["hash"] in seen["said"]


@pytest.mark.parametrize("target", TARGETS)
def test_a_port_where_nobody_listens_is_an_error_and_never_a_clean_end(
    pods: Pods, capturing: Interception, target: str
) -> None:
    seen = pods.do("client", "http", address=pods.address(target), port=UNUSED_PORT, nonce="00")

    assert seen.get("error") in {"ConnectionResetError", "ConnectionRefusedError"}, capturing


@pytest.mark.parametrize("target", TARGETS)
def test_an_app_that_resets_leaves_no_connection_behind(
    pods: Pods, capturing: Interception, target: str
) -> None:
    before = pods.stats("a")

    pods.do("client", "abort", address=pods.address(target), port=ECHO_PORT)

    kind = "passthrough" if target == "outside" else "hbone"
    assert pods.grown("a", f"completed_outbound_{kind}", before) == 1, capturing


def drop(pods: Pods) -> None:
    """Close every pooled tunnel."""

    for path in pods.lane.bench().values():
        with Channel(path) as channel:
            reply = channel.call("drop-tunnels").document
    assert (reply["tunnels_outbound"], reply["tunnels_inbound"]) == (0, 0)
