"""Rules that match nothing and stand before ours, as a busy node's would: what a walk costs."""

from __future__ import annotations

from harness.agent.rules.model import Chain, Module, Rule, RuleSet, Table

FILLER_MAX = 10_000
NAME = "BENCH_FILLER"
NOBODY = "192.0.2.1/32"
NOBODY6 = "2001:db8::1/128"
"""Of the networks kept for documentation (RFC 5737, RFC 3849)."""

_RULE = Rule(
    name="filler",
    why="an address of TEST-NET-1 (RFC 5737), which nobody uses",
    destination=NOBODY,
    protocol="tcp",
)


def filler(table: str, rules: int) -> RuleSet:
    """`rules` rules that match nothing, walked from PREROUTING and OUTPUT of `table`."""
    if rules == 0:
        return RuleSet(tables=())
    jump = Rule(name="jump-filler", why="a walk past rules that match nothing", target=Module(name=NAME))
    heads = {"PREROUTING": (jump,), "OUTPUT": (jump,)}
    chain = Chain(name=NAME, rules=(_RULE,), copies=rules)
    return RuleSet(tables=(Table(name=table, heads=heads, chains=(chain,)),))
