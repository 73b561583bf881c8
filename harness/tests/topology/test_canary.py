"""The canary's service and the pair that policy refuses, as a topology holds them."""

from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import pytest

from harness.suite import load_suite
from harness.topology.allocator import TopologyError, resolve
from harness.topology.canary import ADDRESS, ADDRESS6, canary
from harness.topology.model import IpFamily, PodSpec, PolicySpec, TopologySpec
from harness.topology.refusal import refusal

SMOKE = load_suite("smoke", []).topology
DUAL = load_suite("ipv6", []).topology
ONLY_HIM = {"principals": [{"Exact": "cluster.local/ns/guarded/sa/denied"}]}
DENY: dict[str, object] = {
    "namespace": "bench",
    "scope": "Namespace",
    "action": "Deny",
    "rules": [[[ONLY_HIM]]],
}


def test_canary_sits_on_another_node_than_its_client() -> None:
    found = canary(resolve(SMOKE))

    assert found is not None
    assert ("client", "server-remote") == (found.client.name, found.pod.name)
    assert ADDRESS == found.address_of(IpFamily.IPV4)


def test_canary_has_an_address_of_each_family_that_its_ends_share() -> None:
    found = canary(resolve(DUAL))

    assert found is not None
    assert (ADDRESS, ADDRESS6) == found.addresses


@pytest.mark.parametrize(
    "pods",
    [
        (PodSpec(name="client", node="a", client=True, captured=False), PodSpec(name="s", node="b")),
        (PodSpec(name="client", node="a", client=True), PodSpec(name="s", node="b", captured=False)),
    ],
)
def test_there_is_no_canary_where_no_proxy_stands_at_both_ends(pods: tuple[PodSpec, ...]) -> None:
    assert canary(resolve(replace(SMOKE, pods=pods))) is None


@pytest.mark.parametrize(
    "change",
    [
        {"underlay": IPv4Network("198.51.100.0/24")},
        {"pods_supernet": IPv4Network("198.51.0.0/16")},
        {"underlay6": IPv6Network("2001:db8::/64"), "pods_supernet6": IPv6Network("fd00:10:244::/56")},
    ],
)
def test_nothing_may_own_the_canarys_address(change: dict[str, Any]) -> None:
    with pytest.raises(TopologyError, match="the canary's address"):
        resolve(replace(SMOKE, **change))


def test_refusal_is_between_two_nodes_where_policy_says_so_plainly() -> None:
    found = refusal(resolve(SMOKE))

    assert found is not None
    assert ("denied", "server-remote", "refuse-denied") == (
        found.client.name,
        found.target.name,
        found.policy,
    )


def test_refusal_on_one_node_is_better_than_none() -> None:
    pods = tuple(replace(pod, node="a") for pod in SMOKE.pods)

    found = refusal(resolve(replace(SMOKE, pods=pods)))

    assert found is not None
    assert "server-local" == found.target.name


@pytest.mark.parametrize(
    "change",
    [
        {"action": "Allow"},
        {"scope": "Global", "namespace": ""},
        {"namespace": "elsewhere"},
        {"rules": [[[{"principals": [{"Prefix": "cluster.local/ns/guarded"}]}]]]},
        {"rules": [[[{"principals": [{"Exact": "cluster.local/ns/guarded/sa/nobody"}]}]]]},
        {"rules": [[[{**ONLY_HIM, "destinationPorts": [9]}]]]},
        {"rules": []},
    ],
)
def test_what_a_policy_does_not_say_plainly_is_no_refusal(change: dict[str, object]) -> None:
    policy = PolicySpec(name="p", document={**DENY, **change})
    spec: TopologySpec = replace(SMOKE, policies=(policy,))

    assert refusal(resolve(spec)) is None
