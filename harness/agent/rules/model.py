"""Rules as values, in the words of iptables-save, so that what is read back can be compared as text.

A `RuleSet` says everything that should be in one network namespace: per table the chains that are
ours and the jumps at the head of the kernel's own chains. Whatever else is there is not ours.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

TABLES = ("raw", "mangle", "nat")
"""Every table that a level may use, in the order in which packets meet them."""

SIX = "6"
"""What the name of IPv6's table of a kind ends in: `nat6` is what ip6tables calls `nat`."""

TABLES6 = tuple(name + SIX for name in TABLES)

_HOOKS = {
    "raw": ("PREROUTING", "OUTPUT"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
}

HOOKS = _HOOKS | {name + SIX: hooks for name, hooks in _HOOKS.items()}
"""The kernel's own chains of each table."""


def is_ipv6(table: str) -> bool:
    """Whether a table is one of IPv6's."""
    return table.endswith(SIX)


def kernel_name(table: str) -> str:
    """What iptables or ip6tables calls the table."""
    return table.removesuffix(SIX)


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option of a match or target: `! --mark 0x539/0xfff`."""

    name: str
    value: str = ""
    inverted: bool = False

    def __str__(self) -> str:
        return ("! " if self.inverted else "") + f"--{self.name}" + (f" {self.value}" if self.value else "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A match (`mark`) or a target (`TPROXY`) with its options. A chain's name is a target too."""

    name: str
    options: tuple[Option, ...] = ()

    def __str__(self) -> str:
        return " ".join((self.name, *(str(option) for option in self.options)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule. A leading `!` inverts `source`, `destination` and the interfaces."""

    name: str
    """Our own stable name, under which its counters are reported."""
    why: str
    source: str = ""
    destination: str = ""
    in_interface: str = ""
    out_interface: str = ""
    protocol: str = ""
    matches: tuple[Module, ...] = ()
    target: Module | None = None
    """None counts packets and goes on."""

    @property
    def text(self) -> str:
        """The rule as iptables-save prints it, without the chain."""
        parts: list[str] = []
        for flag, value in (
            ("-s", self.source),
            ("-d", self.destination),
            ("-i", self.in_interface),
            ("-o", self.out_interface),
            ("-p", self.protocol),
        ):
            if value:
                parts += [*(["!"] if value[0] == "!" else []), flag, value.removeprefix("!")]
        parts += [f"-m {match}" for match in self.matches]
        if self.target is not None:
            parts.append(f"-j {self.target}")
        return " ".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """A chain of ours. `copies` repeats its rules, for filler."""

    name: str
    rules: tuple[Rule, ...]
    copies: int = 1
    group: str = ""
    """Where chains hold the same rules, one per lane: the name under which their counters are reported."""
    lane: int = 0
    """The lane whose packets a chain of a group sees; 0: of no one in particular."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What is ours in one table."""

    name: str
    chains: tuple[Chain, ...] = ()
    heads: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    """Kernel chain -> the jumps that come first in it, in order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSet:
    """Everything of ours in one network namespace. Every table named here comes to exist, even empty."""

    tables: tuple[Table, ...]

    def lines(self) -> list[tuple[str, str, str, str]]:
        """Every rule as (table, chain, rule's name, text), kernel chains first, filler folded to one line."""
        found: list[tuple[str, str, str, str]] = []
        for table in self.tables:
            for hook in HOOKS[table.name]:
                found += [(table.name, hook, rule.name, rule.text) for rule in table.heads.get(hook, ())]
            for chain in table.chains:
                suffix = f" x{chain.copies}" if chain.copies != 1 else ""
                found += [(table.name, chain.name, rule.name, rule.text + suffix) for rule in chain.rules]
        return found

    def by_family(self) -> tuple[RuleSet, RuleSet]:
        """What is IPv4's, and what is IPv6's."""
        four = tuple(table for table in self.tables if not is_ipv6(table.name))
        six = tuple(table for table in self.tables if is_ipv6(table.name))
        return RuleSet(tables=four), RuleSet(tables=six)

    @property
    def digest(self) -> str:
        """SHA-256 of the rules as text, to be compared with what was read back."""
        return digest((table, chain, text) for table, chain, _, text in self.lines())


def digest(lines: Iterable[tuple[str, str, str]]) -> str:
    """SHA-256 of rules given as (table, chain, text); tables and chains in any order, rules in theirs."""
    ordered = sorted(lines, key=lambda line: line[:2])
    return hashlib.sha256("\n".join(" ".join(line) for line in ordered).encode()).hexdigest()


def merge(*sets: RuleSet) -> RuleSet:
    """One set out of several; in a kernel chain an earlier set's jumps come before a later one's."""
    tables = []
    for name in (*TABLES, *TABLES6):
        parts = [table for rules in sets for table in rules.tables if table.name == name]
        if not parts:
            continue
        heads: dict[str, tuple[Rule, ...]] = {}
        for part in parts:
            for hook, jumps in part.heads.items():
                heads[hook] = heads.get(hook, ()) + jumps
        chains = tuple(chain for part in parts for chain in part.chains)
        tables.append(Table(name=name, chains=chains, heads=heads))
    return RuleSet(tables=tuple(tables))
