"""Which of many rules can match a connection: found by its facts instead of by asking each rule.

A rule matches only if each of its clauses does, and a clause only if one of its matches does. So one
clause is enough to find a rule by, if each of its matches has a field that says what a fact must be:
a name, a prefix of one, a port, a network. The clause and the fields by which the fewest rules before
it are found are taken. Rules without such a clause (those that only say `not`) are asked one by one, each
distinct one once.

What is found may still not match; what is not found cannot. 10,000 rules cost 13 ms when each is asked.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from typing import NamedTuple

from proxy.background import breathing
from proxy.rbac.facts import Facts
from proxy.rbac.policy import Match, Rule, StringKind, StringMatch
from proxy.rbac.predicates import Predicate, compiled
from proxy.state.model import IPAddress, IPNetwork

Value = str | int | tuple[str, str]


class Lookup(NamedTuple):
    """A question to the facts, whose answer is looked up."""

    fact: str
    """`port`, `account`, `namespace`, `principal`, `source` or `destination`."""
    kind: StringKind | int = StringKind.EXACT
    """Of texts, how they are compared; of networks, the IP version."""
    length: int = 0
    """Of the prefix, in characters or bits, or of the suffix."""


Key = tuple[Lookup, Value]
Named = tuple[str, Rule]
"""A policy's name, and a rule of it."""


class _Entry:
    """A rule, once for all policies that have it."""

    __slots__ = ("_predicate", "_rule", "name")

    def __init__(self, rule: Rule, name: str) -> None:
        self._rule = rule
        self.name = name
        """The first of those policies'."""
        self._predicate: Predicate | None = None

    def holds(self, facts: Facts) -> bool:
        """Whether the rule matches. Compiled when it is first asked: of many rules, few ever are."""
        if self._predicate is None:
            self._predicate = compiled(self._rule)
        return self._predicate(facts)


_name = attrgetter("name")


class Index:
    """Rules with the names of their policies. Nothing in it changes."""

    __slots__ = ("_asked", "_by_lookup")

    def __init__(self, rules: Iterable[Named]) -> None:
        """Index rules."""
        named: dict[Rule, str] = {}
        for name, rule in breathing(rules):
            named[rule] = min(name, named.get(rule, name))
        found_by: defaultdict[Key, list[_Entry]] = defaultdict(list)
        self._asked: list[_Entry] = []
        for rule, name in breathing(named.items()):
            entry = _Entry(rule, name)
            keys = _keys(rule, lambda key: len(found_by.get(key, ())))
            for key in keys:
                found_by[key].append(entry)
            if not keys:
                self._asked.append(entry)
        self._by_lookup: defaultdict[Lookup, dict[Value, list[_Entry]]] = defaultdict(dict)
        for (lookup, value), entries in breathing(found_by.items()):
            self._by_lookup[lookup][value] = entries
        self._asked.sort(key=_name)

    def first(self, facts: Facts) -> str | None:
        """The name of the first policy, by name, of which a rule matches."""
        best = next(
            (entry.name for entry in sorted(self._found(facts), key=_name) if entry.holds(facts)), None
        )
        for entry in self._asked:
            if best is not None and entry.name > best:
                break
            if entry.holds(facts):
                return entry.name
        return best

    def _found(self, facts: Facts) -> set[_Entry]:
        found: set[_Entry] = set()
        for lookup, entries in self._by_lookup.items():
            answer = _answer(lookup, facts)
            if answer is not None and answer in entries:
                found.update(entries[answer])
        return found


def _answer(lookup: Lookup, facts: Facts) -> Value | None:
    """What the facts say; None where they say nothing that any rule could ask for."""
    source = facts.source_id
    match lookup.fact:
        case "port":
            return facts.destination_port
        case "account":
            return None if source is None else (source.namespace, source.service_account)
        case "namespace":
            return _part(lookup, source.namespace if source is not None else "")
        case "principal":
            return None if source is None else _part(lookup, source.principal)
        case "source":
            return _bits(lookup, facts.source_ip)
        case _:
            return _bits(lookup, facts.destination_ip)


def _part(lookup: Lookup, text: str) -> str | None:
    match lookup.kind:
        case StringKind.PREFIX:
            return text[: lookup.length]
        case StringKind.SUFFIX:
            return text[-lookup.length :] if lookup.length <= len(text) else None
        case _:
            return text


def _bits(lookup: Lookup, address: IPAddress) -> int | None:
    if address.version != lookup.kind:
        return None
    return int(address) >> (address.max_prefixlen - lookup.length)


Fields = list[list[Key]]
"""Of one match, the keys of each field: the match can hold only if one of each field's is in the facts."""


def _keys(rule: Rule, load: Callable[[Key], int]) -> tuple[Key, ...]:
    """By which a rule is best found: of one clause, and in it of each match's field, the least loaded.

    Args:
        rule: The rule.
        load: How many rules are found by a key already.
    """

    def cost(keys: Iterable[Key]) -> int:
        return sum(map(load, keys))

    ways = (
        tuple(dict.fromkeys(key for fields in matches for key in min(fields, key=cost)))
        for matches in _findable(rule)
    )
    return min(ways, key=cost, default=())


def _findable(rule: Rule) -> Iterator[list[Fields]]:
    """The clauses by which the rule can be found: of each match its fields."""
    for clause in rule:
        matches = [list(_fields(match)) for match in clause if match != _EMPTY]
        if clause and all(matches):
            yield matches


_EMPTY = Match()
"""Never matches, hence needs no key."""


def _fields(match: Match) -> Iterator[list[Key]]:
    """The keys of each field, of those fields first of which rules are likely to have their own."""
    if match.service_accounts:
        yield [
            (Lookup("account"), (account.namespace, account.service_account))
            for account in match.service_accounts
        ]
    for fact, texts in (("namespace", match.namespaces), ("principal", match.principals)):
        if texts and all(text.value for text in texts):
            yield [_text(fact, text) for text in texts]
    for fact, networks in (("source", match.source_ips), ("destination", match.destination_ips)):
        if networks:
            yield [_network(fact, network) for network in networks]
    if match.destination_ports:
        yield [(Lookup("port"), port) for port in match.destination_ports]


def _text(fact: str, text: StringMatch) -> Key:
    if text.kind is StringKind.EXACT:
        return Lookup(fact), text.value
    return Lookup(fact, text.kind, len(text.value)), text.value


def _network(fact: str, network: IPNetwork) -> Key:
    bits = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
    return Lookup(fact, network.version, network.prefixlen), bits
