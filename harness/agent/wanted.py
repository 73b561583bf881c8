"""What a namespace should carry, what it does carry, and what the kernel takes. Values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from harness.agent.rules.marks import PolicyRoute
from harness.agent.rules.model import RuleSet


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Rules, and the routes and settings that they rest on."""

    rules: RuleSet
    routes: tuple[PolicyRoute, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Carried:
    """What was read back."""

    digest: str
    rules: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Which applier works in this kernel, and how far."""

    applier: str
    why: str
    """Why this one: what the appliers before it could not do, or that it was asked for."""
    ipv6: bool
    """Whether IPv6's rules were tried with IPv4's."""
    levels: Mapping[str, str]
    """Level -> empty where the kernel takes its rules, else why it does not."""
