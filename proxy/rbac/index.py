"""Which of many rules can match a connection: found by its facts instead of by asking each rule.

A rule matches only if each of its clauses does, and a clause only if one of its matches does. So one
clause is enough to find a rule by, if each of its matches has a field that says what a fact must be:
a name, a prefix of one, a port, a network. The clause and the fields that the fewest other rules
share are taken. Rules without such a clause (those that only say `not`) are asked one by one, each
distinct one once.

What is found may still not match; what is not found cannot. 10,000 rules cost 13 ms when each is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from proxy.background import breathe
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


class Index:
    """Rules with the names of their policies, in the order of the names."""

    __slots__ = ("_asked", "_by_lookup", "_predicates", "_rules")

    def __init__(self, rules: Iterable[tuple[str, Rule]]) -> None:
        """Index rules, given in the order of their policies' names; of equal ones the first is enough."""
        first: dict[Rule, str] = {}
        for name, rule in rules:
            breathe()
            first.setdefault(rule, name)
        self._rules = [(name, rule) for rule, name in first.items()]
        self._predicates: list[Predicate | None] = [None] * len(self._rules)
        self._by_lookup: dict[Lookup, dict[Value, list[int]]] = {}
        self._asked: list[int] = []
        findable = [_findable(rule) for _, rule in self._rules]
        matches = (match for clauses in findable for clause in clauses for match in clause)
        shared = Counter(key for fields in matches for keys in fields for key in keys)
        for position, clauses in enumerate(findable):
            if clauses:
                for lookup, value in _rarest(clauses, shared):
                    self._by_lookup.setdefault(lookup, {}).setdefault(value, []).append(position)
            else:
                self._asked.append(position)
                self._predicate(position)  # now, or the first connection would wait for all of them

    def first(self, facts: Facts) -> str | None:
        """The name of the first policy of which a rule matches."""
        best = next((found for found in sorted(self._found(facts)) if self._predicate(found)(facts)), None)
        for position in self._asked:
            if best is not None and position > best:
                break
            if self._predicate(position)(facts):
                best = position
                break
        return None if best is None else self._rules[best][0]

    def _predicate(self, position: int) -> Predicate:
        """Compiled when it is first asked: of many rules, few ever are."""
        predicate = self._predicates[position]
        if predicate is None:
            predicate = self._predicates[position] = compiled(self._rules[position][1])
        return predicate

    def _found(self, facts: Facts) -> set[int]:
        found: set[int] = set()
        for lookup, rules in self._by_lookup.items():
            answer = _answer(lookup, facts)
            if answer is not None and answer in rules:
                found.update(rules[answer])
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


def _rarest(clauses: list[list[Fields]], shared: Counter[Key]) -> list[Key]:
    """Keys of the clause, and in it of each match's field, that the fewest rules share."""
    breathe()

    def cost(keys: list[Key]) -> int:
        return sum(shared[key] for key in keys)

    return min(
        ([key for fields in matches for key in min(fields, key=cost)] for matches in clauses), key=cost
    )


def _findable(rule: Rule) -> list[list[Fields]]:
    """The clauses by which the rule can be found: of each match its fields."""
    breathe()
    clauses = ([list(_fields(match)) for match in clause if match != _EMPTY] for clause in rule if clause)
    return [matches for matches in clauses if all(matches)]


_EMPTY = Match()
"""Never matches, hence needs no key."""


def _fields(match: Match) -> Iterator[list[Key]]:
    if match.destination_ports:
        yield [(Lookup("port"), port) for port in match.destination_ports]
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


def _text(fact: str, text: StringMatch) -> Key:
    if text.kind is StringKind.EXACT:
        return Lookup(fact), text.value
    return Lookup(fact, text.kind, len(text.value)), text.value


def _network(fact: str, network: IPNetwork) -> Key:
    bits = int(network.network_address) >> (network.max_prefixlen - network.prefixlen)
    return Lookup(fact, network.version, network.prefixlen), bits
