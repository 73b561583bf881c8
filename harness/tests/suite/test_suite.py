"""Suites: what loads, what they resolve to, and the shipped ones."""

from __future__ import annotations

import json
from pathlib import Path as FilePath

import pytest

from harness.controlplane.document import document
from harness.plan.model import Configuration, Interception, Path, Reuse, SameNode
from harness.suite import known_suites, load_suite
from harness.suite.problems import SuiteError
from harness.suite.raw import json_schema
from harness.suite.sources import SHIPPED
from harness.topology.allocator import resolve
from proxy.state.policies import policy

DATAPLANES = ("none", "pyztunnel", "envoy")


def load(name: str | FilePath, *overrides: str) -> object:
    return load_suite(name, overrides, dataplanes=DATAPLANES)


@pytest.mark.parametrize("name", known_suites())
def test_shipped_suites_load(name: str) -> None:
    suite = load_suite(name, dataplanes=DATAPLANES)

    assert suite.configurations
    assert len({each.key for each in suite.configurations}) == len(suite.configurations)
    assert suite.default in suite.configurations


def test_quick_is_the_fifteen_configurations_in_six_rounds() -> None:
    suite = load_suite("quick", dataplanes=DATAPLANES)

    assert suite.rounds == 6
    assert len(suite.configurations) == 15
    assert sum(each.dataplane == "none" for each in suite.configurations) == 3
    assert sum(each.reuse is Reuse.OFF for each in suite.configurations) == 3
    assert suite.notes == ()


def test_full_is_the_core_factorial_and_one_factor_at_a_time() -> None:
    suite = load_suite("full", dataplanes=DATAPLANES)
    core = [each for each in suite.configurations if each.path is not Path.INTO_MESH]
    core = [each for each in core if not each.tuning and each.same_node is SameNode.HBONE]

    assert [each.key for each in core if each.reuse is Reuse.OFF_SERIALISED] == [
        "cross-node.pyztunnel.redirect.reuse-off-serialised"
    ]
    core = [each for each in core if each.reuse is not Reuse.OFF_SERIALISED]
    assert len(core) == 21
    assert suite.rounds >= 10
    assert {each.filler_rules for each in suite.configurations} == {0, 1000, 10000}
    assert {each.streams_per_tunnel for each in suite.configurations} == {1, 10, 100}
    assert {each.window_kib for each in suite.configurations} == {64, 4096, 16384}
    assert {each.policies for each in suite.configurations} == {0, 100, 10000}
    assert sum(bool(each.tuning) for each in suite.configurations) == 12
    assert sum(each.same_node is SameNode.PLAINTEXT for each in suite.configurations) == 1
    assert any(each.path is Path.INTO_MESH and each.dataplane != "none" for each in suite.configurations)


def test_schema_file_is_generated() -> None:
    """`ambientbench validate --schema > suites/suite.schema.json` keeps it so."""
    assert json.loads((SHIPPED / "suite.schema.json").read_text()) == json_schema()


def test_extends_merges_tables_and_replaces_lists(tmp_path: FilePath) -> None:
    (tmp_path / "smoke.toml").write_text((SHIPPED / "smoke.toml").read_text())
    (tmp_path / "mine.toml").write_text(
        'extends = "smoke"\nrounds = 4\n[[matrix]]\npath = ["cross-node"]\ndataplane = ["none"]\n'
        "[topology.pods.uncaptured]\nclient = true\n"
    )

    suite = load_suite(tmp_path / "mine.toml", dataplanes=DATAPLANES)

    assert [each.key for each in suite.configurations] == ["cross-node.none"]
    assert suite.rounds == 4
    uncaptured = next(pod for pod in suite.topology.pods if pod.name == "uncaptured")
    assert (uncaptured.client, uncaptured.captured, uncaptured.node) == (True, False, "b")


def test_overrides_reach_every_key() -> None:
    suite = load_suite(
        "quick",
        ["rounds=2", "load.rate.hz=123", "matrix[1].reuse=['on']", "topology.underlay=192.168.77.0/24"],
        dataplanes=DATAPLANES,
    )

    assert (suite.rounds, suite.load.rate_hz) == (2, 123)
    assert str(suite.topology.underlay) == "192.168.77.0/24"
    assert not any(each.reuse is Reuse.OFF for each in suite.configurations)


def test_hash_knows_what_is_measured_and_nothing_else() -> None:
    base = load_suite("quick", dataplanes=DATAPLANES)

    same = load_suite("quick", ["rounds=9", "seed=4", "description='else'"], dataplanes=DATAPLANES)
    other = load_suite("quick", ["load.first_packet.probes=21"], dataplanes=DATAPLANES)

    assert base.hash == same.hash
    assert base.hash != other.hash


def test_factors_that_do_nothing_make_no_second_configuration() -> None:
    suite = load_suite(
        "smoke",
        [
            (
                "matrix=[{path=['cross-node', 'same-node'], dataplane=['none', 'pyztunnel'], "
                "interception=['redirect'], reuse=['on', 'off'], same_node=['hbone', 'plaintext']}]"
            )
        ],
        dataplanes=DATAPLANES,
    )

    keys = [each.key for each in suite.configurations]
    assert keys.count("cross-node.none") == 1
    assert "cross-node.pyztunnel.redirect.reuse-on" in keys
    assert not any("cross-node" in key and "plaintext" in key for key in keys)


def test_exclude_leaves_out_what_agrees_with_every_key() -> None:
    suite = load_suite(
        "quick", ["matrix[1].exclude=[{path='cross-node', reuse='off'}]"], dataplanes=DATAPLANES
    )

    left_out = Configuration(
        path=Path.CROSS_NODE, dataplane="pyztunnel", interception=Interception.REDIRECT, reuse=Reuse.OFF
    )
    assert left_out not in suite.configurations
    assert len(suite.configurations) == 14


def test_vary_brings_what_it_is_compared_with() -> None:
    suite = load_suite(
        "smoke",
        ["matrix=[{path=['cross-node'], dataplane=['none']}]", "vary=[{factor='filler_rules', values=[10]}]"],
        dataplanes=DATAPLANES,
    )

    assert [each.key for each in suite.configurations] == [
        "cross-node.none",
        "cross-node.pyztunnel.redirect.reuse-on",
        "cross-node.pyztunnel.redirect.reuse-on.filler-10",
    ]


def test_few_rounds_are_noted() -> None:
    assert "no 95 % interval" in load_suite("quick", ["rounds=5"], dataplanes=DATAPLANES).notes[0]


def test_ipv6_is_a_factor_with_a_name_of_its_own_and_ipv4_keeps_its() -> None:
    keys = [each.key for each in load_suite("ipv6", [], dataplanes=DATAPLANES).configurations]

    assert {"cross-node.none", "cross-node.none.ipv6"} <= set(keys)
    assert "cross-node.pyztunnel.redirect.reuse-on.ipv6" in keys
    assert not any("ip" in key.split(".") for key in keys)


@pytest.mark.parametrize(
    ("suite", "override", "message"),
    [
        ("smoke", "matrix[0].ip_family=['ipv6']", "ipv6 is measured, but the topology has none"),
        ("ipv6", "topology.ip_families=['ipv6']", "found IPv6 alone"),
        ("ipv6", "topology.pods.client.ipv6=false", "but client has ipv6 = false"),
        ("ipv6", "topology.underlay6='fd00:10:244::/64'", "overlaps pods_supernet6"),
        ("ipv6", "topology.underlay6='10.0.0.0/8'", "IPv6 network such as"),
    ],
)
def test_ipv6_that_is_not_there_is_refused(suite: str, override: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        load_suite(suite, [override], dataplanes=DATAPLANES)


def test_distance_is_a_factor_with_a_name_of_its_own_and_none_keeps_its() -> None:
    suite = load_suite("rtt-model", [], dataplanes=DATAPLANES)
    keys = [each.key for each in suite.configurations]

    assert {"cross-node.none.rtt-4", "cross-node.pyztunnel.redirect.reuse-on.rtt-32"} <= set(keys)
    assert {4, 8, 16, 32} == {each.rtt_ms for each in suite.configurations}
    assert not any("rtt" in each.key for each in load_suite("smoke", dataplanes=DATAPLANES).configurations)


def test_what_stays_on_a_node_goes_no_distance() -> None:
    block = "matrix=[{path=['same-node', 'cross-node'], dataplane=['none'], rtt_ms=[0, 8]}]"
    suite = load_suite("smoke", [block], dataplanes=DATAPLANES)

    assert ["same-node.none", "cross-node.none", "cross-node.none.rtt-8"] == [
        each.key for each in suite.configurations
    ]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("matrix[0].rtt_ms=[501]", "rtt_ms"),
        ("matrix[0].rtt_ms=[-1]", "rtt_ms"),
        ("matrix[0].rtt_ms=[2.5]", "rtt_ms"),
        ("vary=[{factor='rtt_ms', values=[900]}]", "0 to 500"),
        ("vary=[{factor='rtt_ms', values=[8], at={path=['same-node']}}]", "does nothing on path 'same-node'"),
    ],
)
def test_distances_that_make_no_sense_are_refused(override: str, message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        load_suite("smoke", [override], dataplanes=DATAPLANES)


def test_distance_can_be_varied_from_the_default() -> None:
    suite = load_suite(
        "smoke",
        ["matrix=[{path=['cross-node'], dataplane=['none']}]", "vary=[{factor='rtt_ms', values=[8]}]"],
        dataplanes=DATAPLANES,
    )

    assert "cross-node.pyztunnel.redirect.reuse-on.rtt-8" in {each.key for each in suite.configurations}


def with_policy(action: str, rules: str) -> list[str]:
    return [
        f"topology.policies.mine={{ namespace='bench', scope='Namespace', action='{action}', rules={rules} }}"
    ]


@pytest.mark.parametrize(
    ("action", "rules"),
    [
        ("Deny", "[[[{ serviceAccounts=[{ namespace='guarded', serviceAccount='denied' }] }]]]"),
        ("Deny", "[[[{ notServiceAccounts=[{ namespace='a.b', serviceAccount='c' }] }]]]"),
        ("Allow", "[]"),
        ("Deny", "[[[{ namespaces=[{ Prefix='gua' }, { Suffix='.ded' }, { Presence={} }] }]]]"),
        ("Deny", "[[[{ principals=[{ Prefix='cluster.local/n' }, { Prefix='cluster.local/ns/a/sa/' }] }]]]"),
        ("Deny", "[[[{ principals=[{ Suffix='a/denied' }, { Suffix='/ns/guarded/sa/denied' }] }]]]"),
    ],
)
def test_a_policy_that_the_suite_takes_is_one_that_the_proxy_takes(action: str, rules: str) -> None:
    """B02, B33: the shape of a field is ztunnel's, an Allow without rules allows nothing."""
    suite = load_suite("smoke", with_policy(action, rules), dataplanes=DATAPLANES)
    (mine,) = [each for each in document(resolve(suite.topology))["policies"] if each["name"] == "mine"]

    read = policy(mine, "policies[0]")

    assert (read.name, read.action.value) == ("mine", action)
    assert len(read.rules) == (0 if rules == "[]" else 1)


@pytest.mark.parametrize(
    ("match", "key"),
    [
        ("serviceAccounts=[{ Exact='guarded/denied' }]", "serviceAccounts[0].Exact"),
        ("serviceAccounts=[{ namespace='guarded' }]", "serviceAccounts[0].serviceAccount"),
        ("serviceAccounts=[{ namespace='*', serviceAccount='a' }]", "serviceAccounts[0].namespace"),
        ("principals=[{ Exact='*' }]", "principals[0].Exact"),
        ("principals=[{ Exact='spiffe://cluster.local/ns/a/sa/b' }]", "principals[0].Exact"),
        ("principals=[{ Exact='cluster.local/ns/*/sa/x' }]", "principals[0].Exact"),
        ("principals=[{ Exact='a/b' }]", "principals[0].Exact"),
        ("notPrincipals=[{ Prefix='cluster.local/ns/foo/*' }]", "notPrincipals[0].Prefix"),
        ("principals=[{ Prefix='cluster.local/sa/' }]", "principals[0].Prefix"),
        ("principals=[{ Suffix='/sa/Denied' }]", "principals[0].Suffix"),
        ("namespaces=[{ Exact='*' }]", "namespaces[0].Exact"),
        ("notNamespaces=[{ Prefix='-a' }]", "notNamespaces[0].Prefix"),
    ],
)
def test_a_policy_that_can_never_match_is_refused_with_its_place(match: str, key: str) -> None:
    """B02, B13: a glob is no pattern; a DENY with one would let everybody through."""
    options = with_policy("Deny", f"[[[{{ {match} }}]]]")
    with pytest.raises(SuiteError) as caught:
        load_suite("smoke", options, dataplanes=DATAPLANES)

    assert f"topology.policies.mine.rules[0][0][0].{key}: " in str(caught.value)
