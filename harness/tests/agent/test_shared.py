"""What all lanes' namespaces carry, and whose a counter there is."""

from __future__ import annotations

from harness.agent.appliers import Line
from harness.agent.shared import named, shared
from harness.agent.sysctls import Kind
from harness.tests.topology.test_allocator import DUAL, SPEC
from harness.topology.allocator import resolve

TWO = resolve(SPEC, 2)


def _line(chain: str, text: str) -> Line:
    return Line(table="mangle", chain=chain, text=text, packets=3, bytes=9)


def test_a_lane_s_counter_is_told_under_the_name_that_all_lanes_share() -> None:
    rules = shared(Kind.HOST, TWO).rules

    found = named(rules, [_line("BENCH_OUTPUT_1", "-p tcp"), _line("BENCH_OUTPUT_2", "-p tcp")])

    assert [("BENCH_OUTPUT", "count-tcp", 1), ("BENCH_OUTPUT", "count-tcp", 2)] == [
        (each["chain"], each["rule"], each["lane"]) for each in found
    ]


def test_a_jump_is_of_no_lane() -> None:
    (found,) = named(shared(Kind.NODE, TWO).rules, [_line("FORWARD", "-i uplink -j BENCH_WIRE_IN")])

    assert ("jump-wire-in", 0) == (found["rule"], found["lane"])


def test_a_rule_that_we_did_not_write_is_told_where_it_stands() -> None:
    rules = shared(Kind.HOST, TWO).rules

    changed, foreign = named(rules, [_line("BENCH_OUTPUT_1", "-p udp"), _line("OUTPUT", "-p udp")])

    assert ("changed", 1, "BENCH_OUTPUT") == (changed["rule"], changed["lane"], changed["chain"])
    assert ("foreign", 0) == (foreign["rule"], foreign["lane"])


def test_dual_stack_lanes_are_told_apart_in_both_families() -> None:
    texts = [text for *_, text in shared(Kind.NODE, resolve(DUAL, 2)).rules.lines()]

    for prefix in ("10.244.0.0/23", "10.244.2.0/23", "fd00:10:244::/63", "fd00:10:244:2::/63"):
        assert 3 == sum(prefix in text for text in texts)


def test_the_underlay_carries_nothing() -> None:
    assert shared(Kind.UNDERLAY, TWO).rules.tables == ()
