"""Whether a connection may: authorization policies and their evaluation. Pure.

A policy is an OR of rules, a rule an AND of clauses, a clause an OR of matches, a match an AND of
fields, a field an OR of values. A policy without rules never matches; an empty rule or clause
always does; an empty match never does.

Order of evaluation: a DENY policy that matches; a policy that should be there and is not (closed:
what it would have said is unknown); then ALLOW, where one that matches is needed as soon as one exists.

Source: ztunnel rbac.rs and state.rs (assert_rbac); closed where ztunnel is open: an unknown policy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network
from typing import NamedTuple

from proxy.identity.spiffe import SpiffeId
from proxy.state.model import IPAddress, IPNetwork


class Facts(NamedTuple):
    """What is known of a connection. The identity comes from a verified certificate or not at all."""

    source_ip: IPAddress
    source_id: SpiffeId | None
    destination_ip: IPAddress
    destination_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Whether, and which policy said so."""

    allowed: bool
    policy: str | None
    """`namespace/name` of the deciding policy; None where none decided."""
    reason: str
    """For the access log, in ztunnel's words where it has words."""
    dry_run: tuple[str, ...] = ()
    """Dry-run policies that matched: to be logged, without effect."""


class Action(StrEnum):
    """What a policy does to connections that it matches."""

    ALLOW = "Allow"
    DENY = "Deny"


class Scope(StrEnum):
    """Which workloads a policy is for."""

    GLOBAL = "Global"
    NAMESPACE = "Namespace"
    WORKLOAD_SELECTOR = "WorkloadSelector"
    """Those that list it."""


class StringKind(StrEnum):
    """How a text is compared: never as a pattern."""

    EXACT = "Exact"
    PREFIX = "Prefix"
    SUFFIX = "Suffix"
    PRESENCE = "Presence"


@dataclass(frozen=True, slots=True)
class StringMatch:
    """A comparison with a text; `value` is empty for PRESENCE alone."""

    kind: StringKind
    value: str = ""

    def matches(self, text: str) -> bool:
        """Whether `text` compares."""
        match self.kind:
            case StringKind.EXACT:
                return text == self.value
            case StringKind.PREFIX:
                return text.startswith(self.value)
            case StringKind.SUFFIX:
                return text.endswith(self.value)
            case StringKind.PRESENCE:
                return bool(text)


@dataclass(frozen=True, slots=True)
class ServiceAccountMatch:
    """A service account, whatever its trust domain."""

    namespace: str
    service_account: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Conditions that must all hold; within one, any value. An empty tuple is no condition."""

    namespaces: tuple[StringMatch, ...] = ()
    not_namespaces: tuple[StringMatch, ...] = ()
    service_accounts: tuple[ServiceAccountMatch, ...] = ()
    not_service_accounts: tuple[ServiceAccountMatch, ...] = ()
    principals: tuple[StringMatch, ...] = ()
    not_principals: tuple[StringMatch, ...] = ()
    source_ips: tuple[IPNetwork, ...] = ()
    not_source_ips: tuple[IPNetwork, ...] = ()
    destination_ips: tuple[IPNetwork, ...] = ()
    not_destination_ips: tuple[IPNetwork, ...] = ()
    destination_ports: tuple[int, ...] = ()
    not_destination_ports: tuple[int, ...] = ()


Clause = tuple[Match, ...]
Rule = tuple[Clause, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """An authorization policy as configured."""

    name: str
    namespace: str
    scope: Scope
    action: Action
    rules: tuple[Rule, ...]
    dry_run: bool = False

    @property
    def key(self) -> str:
        """The name by which workloads refer to it: `namespace/name`."""
        return f"{self.namespace}/{self.name}"


Predicate = Callable[[Facts], bool]


class Compiled:
    """The policies that apply to one workload, ready to be evaluated.

    Verdicts are remembered: a policy's answer depends on the facts alone.
    """

    __slots__ = ("allow", "deny", "dry_run", "missing", "verdicts")

    VERDICTS = 4096
    """Facts remembered before all are forgotten; about 0.5 MB."""

    def __init__(self, policies: Iterable[Policy], *, missing: Iterable[str] = ()) -> None:
        """Compile.

        Args:
            policies: All that apply, in any order; evaluation goes by name.
            missing: Names of policies that should apply but are not there: connections are denied.
        """
        by_name = sorted(policies, key=lambda policy: policy.key)
        compiled = [(policy, _policy(policy)) for policy in by_name]
        self.deny = _selected(compiled, Action.DENY)
        self.allow = _selected(compiled, Action.ALLOW)
        self.dry_run = tuple((policy.key, matches) for policy, matches in compiled if policy.dry_run)
        self.missing = tuple(sorted(missing))
        self.verdicts: dict[Facts, Decision] = {}


def _selected(compiled: list[tuple[Policy, Predicate]], action: Action) -> tuple[tuple[str, Predicate], ...]:
    return tuple(
        (policy.key, matches)
        for policy, matches in compiled
        if policy.action is action and not policy.dry_run
    )


UNRESTRICTED = Decision(allowed=True, policy=None, reason="no policy")


def evaluate(policies: Compiled, facts: Facts) -> Decision:
    """Decide on one connection."""
    if not (policies.deny or policies.allow or policies.missing or policies.dry_run):
        return UNRESTRICTED
    known = policies.verdicts.get(facts)
    if known is None:
        if len(policies.verdicts) >= Compiled.VERDICTS:
            policies.verdicts.clear()
        known = policies.verdicts[facts] = _decide(policies, facts)
    return known


def _decide(policies: Compiled, facts: Facts) -> Decision:
    dry_run = tuple(key for key, matches in policies.dry_run if matches(facts))
    for key, matches in policies.deny:
        if matches(facts):
            return Decision(allowed=False, policy=key, reason=f"explicitly denied by: {key}", dry_run=dry_run)
    if policies.missing:
        key = policies.missing[0]
        return Decision(allowed=False, policy=key, reason=f"policy {key} not loaded", dry_run=dry_run)
    for key, matches in policies.allow:
        if matches(facts):
            return Decision(allowed=True, policy=key, reason=f"allowed by: {key}", dry_run=dry_run)
    if policies.allow:
        reason = "allow policies exist, but none allowed"
        return Decision(allowed=False, policy=None, reason=reason, dry_run=dry_run)
    return Decision(allowed=True, policy=None, reason="no policy denied", dry_run=dry_run)


def _policy(policy: Policy) -> Predicate:
    rules = [_rule(rule) for rule in policy.rules]
    return lambda facts: any(rule(facts) for rule in rules)


def _rule(rule: Rule) -> Predicate:
    clauses = [_clause(clause) for clause in rule if clause]
    return lambda facts: all(clause(facts) for clause in clauses)


def _clause(clause: Clause) -> Predicate:
    matches = [match for match in (_match(match) for match in clause) if match is not None]
    return lambda facts: any(match(facts) for match in matches)


def _match(match: Match) -> Predicate | None:
    """All fields of one match; None where it has none, as that never matches."""
    fields: tuple[tuple[Predicate | None, bool], ...] = (
        (_ports(match.destination_ports), True),
        (_ports(match.not_destination_ports), False),
        (_namespaces(match.namespaces), True),
        (_namespaces(match.not_namespaces), False),
        (_service_accounts(match.service_accounts), True),
        (_service_accounts(match.not_service_accounts), False),
        (_principals(match.principals), True),
        (_principals(match.not_principals), False),
        (_networks(match.source_ips, lambda facts: facts.source_ip), True),
        (_networks(match.not_source_ips, lambda facts: facts.source_ip), False),
        (_networks(match.destination_ips, lambda facts: facts.destination_ip), True),
        (_networks(match.not_destination_ips, lambda facts: facts.destination_ip), False),
    )
    conditions = [(holds, wanted) for holds, wanted in fields if holds is not None]
    if not conditions:
        return None
    return lambda facts: all(holds(facts) is wanted for holds, wanted in conditions)


def _ports(ports: tuple[int, ...]) -> Predicate | None:
    if not ports:
        return None
    wanted = frozenset(ports)
    return lambda facts: facts.destination_port in wanted


def _texts(matches: tuple[StringMatch, ...]) -> Callable[[str], bool]:
    exact = frozenset(match.value for match in matches if match.kind is StringKind.EXACT)
    others = tuple(match for match in matches if match.kind is not StringKind.EXACT)
    return lambda text: text in exact or any(match.matches(text) for match in others)


def _namespaces(matches: tuple[StringMatch, ...]) -> Predicate | None:
    if not matches:
        return None
    any_of = _texts(matches)
    return lambda facts: any_of(facts.source_id.namespace if facts.source_id is not None else "")


def _principals(matches: tuple[StringMatch, ...]) -> Predicate | None:
    if not matches:
        return None
    any_of = _texts(matches)
    return lambda facts: facts.source_id is not None and any_of(facts.source_id.principal)


def _service_accounts(matches: tuple[ServiceAccountMatch, ...]) -> Predicate | None:
    if not matches:
        return None
    wanted = frozenset((match.namespace, match.service_account) for match in matches)
    return lambda facts: (
        facts.source_id is not None and (facts.source_id.namespace, facts.source_id.service_account) in wanted
    )


def _networks(networks: tuple[IPNetwork, ...], address: Callable[[Facts], IPAddress]) -> Predicate | None:
    """Networks as (first address, mask) integers by family: ten times faster than `in`."""
    if not networks:
        return None
    v4 = tuple((int(n.network_address), int(n.netmask)) for n in networks if isinstance(n, IPv4Network))
    v6 = tuple((int(n.network_address), int(n.netmask)) for n in networks if isinstance(n, IPv6Network))

    def within(facts: Facts) -> bool:
        found = address(facts)
        number = int(found)
        return any(number & mask == first for first, mask in (v4 if found.version == 4 else v6))

    return within
