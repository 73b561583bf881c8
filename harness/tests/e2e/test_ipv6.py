"""IPv6 beside IPv4, whole: what an app can tell of the mesh over either, and no way past it (T72)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.plan.model import Interception
from harness.tests.e2e.beds import Pods, bed_of
from harness.tests.e2e.conftest import ENGINES
from harness.topology.model import APP_PORT, ECHO_PORT, IpFamily

CAPTURING = [Interception.REDIRECT, Interception.TPROXY, Interception.TPROXY_NOTRACK]
TARGETS = {"server-local": "a", "server-remote": "b", "outside": ""}
SIZE = 1 << 20


@pytest.fixture(scope="module", params=ENGINES)
def dual(request: pytest.FixtureRequest) -> Iterator[Pods]:
    """The dual-stack testbed of suites/ipv6.toml, whose pod `uncaptured` has no IPv6."""
    with bed_of("ipv6", request.param) as bed:
        yield Pods(bed)


@pytest.fixture(params=CAPTURING)
def level(request: pytest.FixtureRequest, dual: Pods) -> Interception:
    """Every level that captures, in force."""
    chosen: Interception = request.param
    dual.lane.capture(chosen)
    return chosen


def source_of(seen: dict[str, dict[str, str]]) -> str:
    """The address under which the backend saw the client."""
    return seen["words"]["source"].rpartition(":")[0].strip("[]")


@pytest.mark.parametrize("family", IpFamily)
@pytest.mark.parametrize("target", TARGETS)
def test_every_path_is_captured_and_keeps_the_clients_address(
    dual: Pods, level: Interception, target: str, family: IpFamily
) -> None:
    """T72: IPv4 arrives at dual-stack listeners as IPv4-mapped addresses, which are no third family."""
    before = dual.stats("a")

    seen = dual.get("client", target, family)

    assert (target, TARGETS[target]) == (seen["words"]["pod"], seen["words"]["node"])
    assert {dual.address("client", family)} == {seen["own"], source_of(seen)}
    assert dual.grown("a", "accepted_outbound", before) == 1, level
    kind = "passthrough" if target == "outside" else "hbone"
    assert dual.grown("a", f"completed_outbound_{kind}", before) == 1


def test_an_ipv4_mapped_address_is_no_way_past_the_mesh(dual: Pods, level: Interception) -> None:
    """T72: an IPv6 socket that dials ::ffff:10.244.1.2 sends IPv4, and IPv4's rules catch it."""
    before = dual.stats("a")
    mapped = f"::ffff:{dual.address('server-remote')}"

    seen = dual.do("client", "http", address=mapped, port=APP_PORT, nonce="5eed")

    assert ("5eed", "server-remote") == (seen["words"]["nonce"], seen["words"]["pod"])
    assert dual.address("client") == source_of(seen)
    assert dual.grown("a", "completed_outbound_hbone", before) == 1, level


def test_plaintext_into_the_mesh_is_captured_and_keeps_its_source(dual: Pods, level: Interception) -> None:
    before = dual.stats("b")

    # the host outside runs no load, but any member can be an app
    seen = dual.get("outside", "server-remote", IpFamily.IPV6)

    assert dual.address("outside", IpFamily.IPV6) == source_of(seen)
    assert dual.grown("b", "accepted_inbound_plaintext", before) == 1, level


def test_policy_holds_over_ipv6(dual: Pods, level: Interception) -> None:
    before = dual.stats("b")

    assert dual.get("denied", "server-remote", IpFamily.IPV6) == {"error": "ConnectionResetError"}, level
    assert dual.grown("b", "connects_denied", before) == 1


def test_half_close_lets_late_data_through(dual: Pods, level: Interception) -> None:
    address = dual.address("server-remote", IpFamily.IPV6)

    seen = dual.do("client", "half_close", address=address, port=ECHO_PORT, size=SIZE)

    assert seen == {"same": True, "size": SIZE}, level


@pytest.mark.parametrize("target", ["client", "server-remote", "outside"])
def test_a_pod_without_ipv6_reaches_nobody_over_it(dual: Pods, level: Interception, target: str) -> None:
    """T72: what is not captured is blocked."""
    assert dual.get("uncaptured", target, IpFamily.IPV6) == {"error": "OSError"}, level


def test_no_link_has_an_address_that_the_testbed_did_not_give(dual: Pods) -> None:
    """Link-local addresses would be a way to the node that no rule of a pod knows."""
    seen = dual.do("client", "addresses")

    assert sorted([dual.address("client", IpFamily.IPV6), "::1"]) == seen["addresses"]
