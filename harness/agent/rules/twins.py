"""The same rules for IPv6. Written once, for IPv4: each address in them has its twin here.

Source: istio/istio cni/pkg/iptables, which writes both families from one builder; istio/ztunnel's tests.
"""

from __future__ import annotations

from dataclasses import replace

from harness.agent.rules.filler import NOBODY, NOBODY6
from harness.agent.rules.marks import ANY, ANY6, LOOPBACK, LOOPBACK6, PROBES, PROBES6
from harness.agent.rules.model import SIX, Chain, Module, Rule, RuleSet, Table

TWINS = {"": "", LOOPBACK: LOOPBACK6, PROBES: PROBES6, NOBODY: NOBODY6}
"""Addresses that rules match."""


def in_ipv6(rules: RuleSet) -> RuleSet:
    """The rules in IPv6's own tables.

    Raises:
        KeyError: A rule names an address that has no twin in `TWINS`.
    """
    return RuleSet(tables=tuple(_table(table) for table in rules.tables))


def _table(table: Table) -> Table:
    return Table(
        name=table.name + SIX,
        chains=tuple(_chain(chain) for chain in table.chains),
        heads={hook: tuple(_rule(rule) for rule in rules) for hook, rules in table.heads.items()},
    )


def _chain(chain: Chain) -> Chain:
    return replace(chain, rules=tuple(_rule(rule) for rule in chain.rules))


def _rule(rule: Rule) -> Rule:
    return replace(
        rule,
        source=_address(rule.source),
        destination=_address(rule.destination),
        target=None if rule.target is None else _target(rule.target),
    )


def _address(address: str) -> str:
    return ("!" if address[:1] == "!" else "") + TWINS[address.removeprefix("!")]


def _target(target: Module) -> Module:
    options = (replace(option, value=ANY6) if option.value == ANY else option for option in target.options)
    return replace(target, options=tuple(options))
