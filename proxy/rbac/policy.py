"""Authorization policies as configured. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from proxy.state.model import IPNetwork


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
