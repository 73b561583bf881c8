"""The rules of `tproxy`, and two more that keep every packet out of conntrack."""

from __future__ import annotations

from dataclasses import replace

from harness.agent.rules.levels import HEADS, tproxy
from harness.agent.rules.model import Chain, Module, Option, Rule, RuleSet, Table

_NOTRACK = Rule(
    name="notrack",
    why="no conntrack entry for any packet",
    target=Module(name="CT", options=(Option(name="notrack"),)),
)

LEVEL = replace(
    tproxy.LEVEL,
    rules=RuleSet(
        tables=(
            Table(
                name="raw",
                heads=HEADS,
                chains=(
                    Chain(name="ISTIO_PRERT", rules=(_NOTRACK,)),
                    Chain(name="ISTIO_OUTPUT", rules=(_NOTRACK,)),
                ),
            ),
            tproxy.MANGLE,
            Table(name="nat"),
        )
    ),
)
