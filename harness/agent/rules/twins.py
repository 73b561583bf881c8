"""The same rules for IPv6. Written once, for IPv4: each address in them has its twin here.

Source: istio/istio cni/pkg/iptables, which writes both families from one builder; istio/ztunnel's tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.agent.rules.filler import NOBODY, NOBODY6
from harness.agent.rules.marks import ANY, ANY6, LOOPBACK, LOOPBACK6, PROBES, PROBES6
from harness.agent.rules.model import SIX, Module, Rule, RuleSet, Table

TWINS = {"": "", LOOPBACK: LOOPBACK6, PROBES: PROBES6, NOBODY: NOBODY6}
"""Addresses that rules match, whatever the topology."""


def in_ipv6(rules: RuleSet, prefixes: Mapping[str, str]) -> RuleSet:
    """The rules in IPv6's own tables.

    Args:
        rules: IPv4's.
        prefixes: Twins of addresses that are a topology's, beside `TWINS`.

    Raises:
        KeyError: A rule names an address that has no twin.
    """
    twins = {**TWINS, **prefixes}
    return RuleSet(tables=tuple(_table(table, twins) for table in rules.tables))


def _table(table: Table, twins: Mapping[str, str]) -> Table:
    return Table(
        name=table.name + SIX,
        chains=tuple(
            replace(chain, rules=tuple(_rule(rule, twins) for rule in chain.rules)) for chain in table.chains
        ),
        heads={hook: tuple(_rule(rule, twins) for rule in rules) for hook, rules in table.heads.items()},
    )


def _rule(rule: Rule, twins: Mapping[str, str]) -> Rule:
    return replace(
        rule,
        source=_address(rule.source, twins),
        destination=_address(rule.destination, twins),
        target=None if rule.target is None else _target(rule.target),
    )


def _address(address: str, twins: Mapping[str, str]) -> str:
    return ("!" if address[:1] == "!" else "") + twins[address.removeprefix("!")]


def _target(target: Module) -> Module:
    options = (replace(option, value=ANY6) if option.value == ANY else option for option in target.options)
    return replace(target, options=tuple(options))
