"""Rules through python-iptables (libiptc, the legacy tables): no program started, one commit per table.

python-iptables keeps tables per process, whatever namespace the process enters later: so this runs in
a process that lives for one namespace. It takes no lock: so we do.

libxtables keeps an extension for one family per process: where TPROXY was used for IPv4, its IPv6 twin
is not found any more, and asking again ends the process (iptables 1.8.9). So IPv6's tables, which only
a dual-stack topology has, are written and read by ip6tables' legacy programs.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from ipaddress import IPv4Network
from typing import Any

import iptc

from harness.agent import netns
from harness.agent.appliers import LOCK_WAIT_S, OWN, ApplyError, Line, fold
from harness.agent.appliers.restore import Restore
from harness.agent.rules.filler import NAME as FILLER
from harness.agent.rules.model import HOOKS, Chain, Module, Rule, RuleSet, Table, is_ipv6


class Iptc:
    """See the module."""

    name = "python-iptables"
    _six = Restore(backends=("iptables-legacy",))

    def apply(self, rules: RuleSet) -> None:
        """See `Applier`."""
        four, six = rules.by_family()
        with netns.iptables_lock(wait_s=LOCK_WAIT_S), _mapped("write"):
            _only([table.name for table in four.tables])
            for table in four.tables:
                _write(table)
        self._six.apply(six)

    def read(self, tables: Sequence[str]) -> list[Line]:
        """See `Applier`."""
        with _mapped("read"):
            four = [name for name in tables if not is_ipv6(name)]
            _only(four)
            opened = [_opened(name) for name in four]
            lines = [line for table in opened for chain in table.chains for line in _read(table, chain)]
        return lines + self._six.read([name for name in tables if is_ipv6(name)])


@contextmanager
def _mapped(verb: str) -> Iterator[None]:
    try:
        yield
    except (iptc.IPTCError, iptc.xtables.XTablesError, ValueError) as exc:
        raise ApplyError(f"python-iptables cannot {verb} tables: {exc}") from exc


def _only(tables: Sequence[str]) -> None:
    # a new Target looks for a chain of its name in every table, and looking brings a table to exist,
    # with hooks that every packet then passes
    iptc.Table.existing_table_names.update({name: name in tables for name in iptc.Table.ALL})
    for name in tables:
        iptc.Table(name, autocommit=False)


def _opened(name: str) -> iptc.Table:
    table = iptc.Table(name, autocommit=False)
    table.refresh()
    return table


def _write(wanted: Table) -> None:
    table = _opened(wanted.name)
    for hook in HOOKS[wanted.name]:
        chain = iptc.Chain(table, hook)
        for rule in chain.rules:
            if rule.target.name.startswith(OWN):
                chain.delete_rule(rule)
    ours = [chain.name for chain in table.chains if chain.name.startswith(OWN)]
    for name in ours:
        table.flush_entries(name)
    for name in ours:
        table.delete_chain(name)
    for chain in wanted.chains:
        table.create_chain(chain.name)
    for chain in wanted.chains:
        _fill(table, chain)
    for hook, jumps in wanted.heads.items():
        for position, jump in enumerate(jumps):
            table.insert_entry(hook, _entry(wanted.name, jump), position)
    table.commit()


def _fill(table: iptc.Table, chain: Chain) -> None:
    for rule in chain.rules:
        entry = _entry(table.name, rule)
        for _ in range(chain.copies):
            table.append_entry(chain.name, entry)


@cache
def _entry(table: str, rule: Rule) -> Any:  # noqa: ARG001 - a jump is built where its chain exists
    """The rule as libiptc takes it. Taking one apart and together is most of a switch of levels: kept."""
    built = iptc.Rule()
    if rule.source:
        built.src = rule.source
    if rule.destination:
        built.dst = rule.destination
    if rule.in_interface:
        built.in_interface = rule.in_interface
    if rule.out_interface:
        built.out_interface = rule.out_interface
    if rule.protocol:
        built.protocol = rule.protocol
    for module in rule.matches:
        _set(built.create_match(module.name), module)
    target = iptc.Target(built, rule.target.name if rule.target else "")
    if rule.target:
        _set(target, rule.target)
    built.target = target
    built.final_check()
    return built.rule


def _set(built: iptc.Match | iptc.Target, module: Module) -> None:
    for option in module.options:
        words = option.value.split() if " " in option.value else option.value
        if option.inverted:
            words = ["!", *words] if isinstance(words, list) else f"!{words}"
        built.set_parameter(option.name, words)


def _read(table: iptc.Table, chain: iptc.Chain) -> list[Line]:
    if chain.name == FILLER:
        return [_filler(table, chain)]
    return fold(
        Line(
            table=table.name,
            chain=chain.name,
            text=_known_text(table, chain, entry),
            packets=entry.counters.pcnt,
            bytes=entry.counters.bcnt,
        )
        for entry in _entries(table, chain)
    )


def _entries(table: iptc.Table, chain: iptc.Chain) -> Iterator[Any]:
    entry = table.first_rule(chain.name)
    while entry:
        yield entry
        entry = table.next_rule(entry)


_texts: dict[bytes, str] = {}
"""What the kernel gave, without its counters -> how it reads. Most rules are read twice per cell."""


def _known_text(table: iptc.Table, chain: iptc.Chain, entry: Any) -> str:
    # a jump says where to as an offset; libiptc knows the chain's name
    target = table.get_target(entry) or b""
    matches = ctypes.string_at(ctypes.addressof(entry.elems), entry.next_offset - ctypes.sizeof(entry))
    key = target + bytes(entry.ip) + struct.pack("HH", entry.target_offset, entry.next_offset) + matches
    if key not in _texts:
        _texts[key] = _text(table.create_rule(entry, chain))
    return _texts[key]


def _filler(table: iptc.Table, chain: iptc.Chain) -> Line:
    # up to 10,000 rules, too many to take apart one by one: the first one is, the others must equal it
    first = table.first_rule(chain.name)
    if not first:
        return Line(table=table.name, chain=chain.name, text="(empty)", packets=0, bytes=0)
    text = _text(table.create_rule(first, chain))
    head = bytes(first.ip)
    count = packets = octets = 0
    for entry in _entries(table, chain):
        if bytes(entry.ip) != head:
            text += f" (rule {count + 1} differs)"
        count += 1
        packets += entry.counters.pcnt
        octets += entry.counters.bcnt
    suffix = f" x{count}" if count > 1 else ""
    return Line(table=table.name, chain=chain.name, text=text + suffix, packets=packets, bytes=octets)


def _text(rule: iptc.Rule) -> str:
    parts: list[str] = []
    for flag, value in (
        ("-s", _network(rule.src)),
        ("-d", _network(rule.dst)),
        ("-i", rule.in_interface or ""),
        ("-o", rule.out_interface or ""),
        ("-p", "" if rule.protocol == "ip" else rule.protocol),
    ):
        if value:
            parts += [*(["!"] if value[0] == "!" else []), flag, value.removeprefix("!")]
    for match in rule.matches:
        parts += ["-m", match.name, *_options(match)]
    if rule.target.name:
        parts += ["-j", rule.target.name, *_options(rule.target)]
    return " ".join(parts)


def _network(address: str) -> str:
    inverted, network = address[:1] == "!", IPv4Network(address.removeprefix("!"))
    return "" if network.prefixlen == 0 else ("!" if inverted else "") + str(network)


def _options(module: iptc.Match | iptc.Target) -> Iterator[str]:
    for name, words in module.get_all_parameters().items():
        if words[:1] == ["!"]:
            yield "!"
        yield from (f"--{name}", *(word for word in words if word != "!"))
