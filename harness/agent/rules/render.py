"""A rule set as text for iptables-restore, readable by people: each rule under its name and reason."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from harness.agent.rules.model import HOOKS, Chain, Rule, RuleSet, Table, kernel_name

TRANSACTION_MAX = 256
"""Most copies of a rule in one transaction. With nft a transaction is one message, and in a user namespace
a message has to fit net.core.wmem_max: 208 KiB hold some 500 rules."""


def render(rules: RuleSet, *, removals: Mapping[str, Sequence[str]] | None = None) -> str:
    """Text for `iptables-restore --noflush`: our chains anew, our jumps first, nothing else touched.

    One transaction per table; a chain of many copies is filled before, in transactions of its own.
    The kernel's chains are named without a policy: they come to exist, and keep the one they have.

    Args:
        rules: What should be there, all of one family: for IPv6 the text is ip6tables-restore's.
        removals: Per table, commands that take away what was ours before.
    """
    removals = removals or {}
    return "".join(
        line + "\n" for table in rules.tables for line in _table(table, removals.get(table.name, ()))
    )


def _table(table: Table, removals: Sequence[str]) -> Iterator[str]:
    large = [chain for chain in table.chains if chain.copies > TRANSACTION_MAX]
    for chain in large:
        yield from _filled(kernel_name(table.name), chain)
    small = [chain for chain in table.chains if chain not in large]
    yield f"*{kernel_name(table.name)}"
    for name in (*HOOKS[table.name], *(chain.name for chain in small)):
        yield f":{name} - [0:0]"
    yield from removals
    for hook in HOOKS[table.name]:
        for position, rule in enumerate(table.heads.get(hook, ()), start=1):
            yield from _rule(f"-I {hook} {position}", rule)
    for chain in small:
        for rule in chain.rules:
            yield from _rule(f"-A {chain.name}", rule)
            yield from [f"-A {chain.name} {rule.text}".rstrip()] * (chain.copies - 1)
    yield "COMMIT"


def _filled(table: str, chain: Chain) -> Iterator[str]:
    yield from (f"*{table}", f":{chain.name} - [0:0]", "COMMIT")
    for rule in chain.rules:
        for first in range(0, chain.copies, TRANSACTION_MAX):
            yield f"*{table}"
            yield from _rule(f"-A {chain.name}", rule)
            rest = min(TRANSACTION_MAX, chain.copies - first) - 1
            yield from [f"-A {chain.name} {rule.text}".rstrip()] * rest
            yield "COMMIT"


def _rule(command: str, rule: Rule) -> Iterator[str]:
    yield f"# {rule.name}: {rule.why}"
    yield f"{command} {rule.text}".rstrip()
