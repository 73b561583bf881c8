"""Rule sets as values: held by golden files that a person reads."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from harness.agent.rules import UnfitFiller, captured
from harness.agent.rules.counting import POD, host, node
from harness.agent.rules.filler import FILLER_MAX
from harness.agent.rules.levels import UnknownLevel, level, names
from harness.agent.rules.model import HOOKS, Chain, Rule, RuleSet, Table
from harness.agent.rules.render import render
from harness.agent.rules.twins import in_ipv6
from harness.plan.model import Interception

GOLDEN = Path(__file__).parent / "golden"
LANES = {1: "10.244.0.0/23", 2: "10.244.2.0/23"}
TWINS = {"10.244.0.0/23": "fd00:10:244::/63", "10.244.2.0/23": "fd00:10:244:2::/63"}


def test_every_word_of_the_plan_is_a_level() -> None:
    assert sorted(Interception) == names()


@pytest.mark.parametrize("name", names())
def test_a_captured_pod_carries_what_the_golden_file_says(name: str) -> None:
    assert (GOLDEN / f"{name}.txt").read_text() == render(captured(name).rules)


@pytest.mark.parametrize("name", names())
def test_a_dual_stack_pod_carries_ipv6s_golden_file_beside_it(name: str) -> None:
    both = captured(name, ipv6=True).rules

    four, six = both.by_family()
    assert captured(name).rules == four
    assert (GOLDEN / f"{name}.ipv6.txt").read_text() == render(six)


@pytest.mark.parametrize(("name", "rules"), [("node", node(LANES)), ("host", host(LANES))])
def test_a_shared_namespace_carries_what_the_golden_file_says(name: str, rules: RuleSet) -> None:
    assert (GOLDEN / f"{name}.txt").read_text() == render(rules)
    assert (GOLDEN / f"{name}.ipv6.txt").read_text() == render(in_ipv6(rules, TWINS))


@pytest.mark.parametrize("rules", [node(LANES), host(LANES)])
def test_every_packet_is_looked_at_for_every_lane(rules: RuleSet) -> None:
    """A walk that ended at its own lane would make the last lane's packets dearer than the first one's."""
    (table,) = rules.tables
    targets = {rule.target.name for chain in table.chains for rule in chain.rules if rule.target}
    jumps = {chain.name: [rule.text for rule in chain.rules] for chain in table.chains if not chain.group}

    assert targets <= {"RETURN"} | {chain.name for chain in table.chains}
    for name, walked in jumps.items():
        assert [
            f"{text.split()[0]} {LANES[lane]} -j {name}_{lane}" for lane, text in enumerate(walked, 1)
        ] == walked


@pytest.mark.parametrize("rules", [node(LANES), host(LANES)])
def test_each_lane_counts_under_the_same_names(rules: RuleSet) -> None:
    (table,) = rules.tables
    counted: dict[str, list[tuple[Rule, ...]]] = {}
    for chain in table.chains:
        if chain.group:
            counted.setdefault(chain.group, []).append(chain.rules)

    assert counted
    assert all(len(of_lanes) == len(LANES) and len(set(of_lanes)) == 1 for of_lanes in counted.values())


def test_no_golden_file_is_left_over() -> None:
    expected = {f"{name}{family}.txt" for name in (*names(), "node", "host") for family in ("", ".ipv6")}

    assert expected == {path.name for path in GOLDEN.iterdir()}


@pytest.mark.parametrize("name", names())
def test_ipv6s_rules_name_no_ipv4_address_and_are_as_many(name: str) -> None:
    """T72: what is captured of one family is captured of the other."""
    four = captured(name, filler_rules=0 if name == "none" else 2).rules
    six = in_ipv6(four, {})

    assert [rule for *_, rule, _ in four.lines()] == [rule for *_, rule, _ in six.lines()]
    assert not [text for *_, text in six.lines() if re.search(r"\d+\.\d+\.\d+\.\d+", text)]


def test_an_address_without_a_twin_is_no_rule_without_an_address() -> None:
    rule = Rule(name="r", why="w", source="10.0.0.1/32")
    rules = RuleSet(tables=(Table(name="raw", chains=(Chain(name="BENCH_X", rules=(rule,)),)),))

    with pytest.raises(KeyError, match=r"10\.0\.0\.1"):
        in_ipv6(rules, {})


def test_marks_are_routed_to_lo_in_both_families() -> None:
    routes = captured("tproxy", ipv6=True).routes

    assert [(0x111, False), (0x112, False), (0x111, True), (0x112, True)] == [
        (route.mark, route.ipv6) for route in routes
    ]


def test_notrack_differs_from_tproxy_in_the_two_notrack_rules_alone() -> None:
    with_conntrack, without = (Counter(captured(name).rules.lines()) for name in ("tproxy", "tproxy-notrack"))

    added = without - with_conntrack
    jumps = [("raw", "OUTPUT", "-j ISTIO_OUTPUT"), ("raw", "PREROUTING", "-j ISTIO_PRERT")]
    targets = [("raw", "ISTIO_OUTPUT", "-j CT --notrack"), ("raw", "ISTIO_PRERT", "-j CT --notrack")]
    assert not with_conntrack - without
    assert sorted(jumps + targets) == sorted((table, chain, text) for table, chain, _, text in added)


def test_notrack_differs_from_tproxy_in_rules_alone() -> None:
    tracked, untracked = level("tproxy"), level("tproxy-notrack")

    assert tracked == replace(untracked, rules=tracked.rules)


@pytest.mark.parametrize("name", ["redirect", "tproxy"])
def test_levels_with_conntrack_ask_for_it(name: str) -> None:
    texts = " ".join(text for *_, text in captured(name).rules.lines())

    assert any(asks in texts for asks in ("-j REDIRECT", "-m conntrack"))


def test_without_capture_nothing_asks_for_conntrack() -> None:
    texts = " ".join(text for *_, text in captured("none").rules.lines())

    assert not any(asks in texts for asks in ("REDIRECT", "CONNMARK", "conntrack", "CT"))


def test_every_level_sets_the_same_settings_and_brings_the_same_tables() -> None:
    levels = [level(name) for name in names()]

    assert 1 == len({frozenset(each.sysctls) for each in levels})
    assert {("raw", "mangle", "nat")} == {tuple(table.name for table in each.rules.tables) for each in levels}


@pytest.mark.parametrize("name", names())
def test_counting_comes_before_everything_else(name: str) -> None:
    rules = captured(name, filler_rules=0 if name == "none" else 2).rules

    for hook in ("PREROUTING", "OUTPUT"):
        first = next(rule for table, chain, rule, _ in rules.lines() if (table, chain) == ("mangle", hook))
        assert f"jump-count-{hook.lower()}" == first


@pytest.mark.parametrize(("name", "table"), [("redirect", "nat"), ("tproxy", "mangle")])
def test_filler_stands_before_capture_in_the_levels_own_table(name: str, table: str) -> None:
    rules = captured(name, filler_rules=7).rules

    lines = rules.lines()
    jumps = [rule for where, chain, rule, _ in lines if (where, chain) == (table, "OUTPUT")]
    assert ["jump-filler", "jump-output"] == jumps[-2:]
    assert [(table, "BENCH_FILLER", "filler", "-d 192.0.2.1/32 -p tcp x7")] == [
        line for line in lines if line[1] == "BENCH_FILLER"
    ]
    assert 7 == render(rules).count("-A BENCH_FILLER -d 192.0.2.1/32 -p tcp\n")


@pytest.mark.parametrize(("name", "count"), [("none", 1), ("tproxy", -1), ("tproxy", FILLER_MAX + 1)])
def test_unfit_filler_is_refused(name: str, count: int) -> None:
    with pytest.raises(UnfitFiller, match=f"filler_rules is {count}"):
        captured(name, filler_rules=count)


def test_an_unknown_level_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UnknownLevel, match="'nftables'; known: none, redirect, tproxy, tproxy-notrack"):
        level("nftables")


@pytest.mark.parametrize(
    "rules", [node(LANES), host(LANES), POD, *(captured(name).rules for name in names())]
)
def test_a_rules_text_tells_it_from_its_neighbours(rules: RuleSet) -> None:
    places = [(table, chain, text) for table, chain, _, text in rules.lines()]

    assert len(places) == len(set(places))


def test_jumps_are_put_into_chains_that_the_kernel_has() -> None:
    for name in names():
        for table in captured(name).rules.tables:
            assert set(table.heads) <= set(HOOKS[table.name])


def test_digest_sees_order_and_content() -> None:
    digests = {captured(name).rules.digest for name in names()}
    turned = RuleSet(
        tables=tuple(
            replace(
                table,
                chains=tuple(replace(chain, rules=chain.rules[::-1]) for chain in table.chains),
            )
            for table in captured("redirect").rules.tables
        )
    )

    assert len(names()) == len(digests)
    assert turned.digest not in digests
