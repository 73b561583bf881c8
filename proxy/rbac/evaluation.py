"""The policies of one workload, in their order of evaluation.

A DENY policy that matches; a policy that should be there and is not (closed: what it would have said is
unknown); then ALLOW, where one that matches is needed as soon as one exists. Policies of a dry run
decide nothing, but what they would decide is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from proxy.rbac.facts import Decision, Facts
from proxy.rbac.index import Index
from proxy.rbac.policy import Action, Policy


class _Indexed:
    """Policies by action."""

    __slots__ = ("allow", "any_allow", "deny")

    def __init__(self, policies: Sequence[Policy]) -> None:
        deny = [policy for policy in policies if policy.action is Action.DENY]
        allow = [policy for policy in policies if policy.action is Action.ALLOW]
        self.deny = Index((policy.key, rule) for policy in deny for rule in policy.rules)
        self.allow = Index((policy.key, rule) for policy in allow for rule in policy.rules)
        self.any_allow = bool(allow)


class PolicySet:
    """Policies that apply together: those of the mesh, of a namespace, of a workload's own list."""

    __slots__ = ("enforced", "policies", "rehearsed")

    def __init__(self, policies: Iterable[Policy]) -> None:
        """Compile and index them, in any order; evaluation goes by name."""
        self.policies = _by_name(policies)
        in_force = [policy for policy in self.policies if not policy.dry_run]
        self.enforced = _Indexed(in_force)
        self.rehearsed = self.enforced if len(in_force) == len(self.policies) else _Indexed(self.policies)
        """As if those of a dry run were in force."""

    def is_of(self, policies: Iterable[Policy]) -> bool:
        """Whether it was made of these policies."""
        return self.policies == _by_name(policies)


def _by_name(policies: Iterable[Policy]) -> tuple[Policy, ...]:
    return tuple(sorted(policies, key=lambda policy: policy.key))


class Compiled:
    """The policies that apply to one workload, ready to be evaluated.

    Verdicts are remembered: a policy's answer depends on the facts alone.
    """

    __slots__ = ("enforced", "missing", "rehearsed", "sets", "trust_domain", "unrestricted", "verdicts")

    VERDICTS = 4096
    """Facts remembered before all are forgotten; about 0.5 MB."""

    def __init__(
        self, *sets: PolicySet, missing: Iterable[str] = (), trust_domain: str | None = None
    ) -> None:
        """Put together.

        Args:
            sets: All that apply.
            missing: Names of policies that should apply but are not there: connections are denied.
            trust_domain: Whose identities are taken; None: all. Looked at when a tunnel is accepted, too,
                but a tunnel may outlive the change of a workload's trust domain.
        """
        self.trust_domain = trust_domain
        self.sets = tuple(each for each in sets if each.policies)
        self.missing = tuple(sorted(missing))
        self.enforced = [each.enforced for each in self.sets]
        self.rehearsed = [each.rehearsed for each in self.sets]
        self.unrestricted = not (self.sets or self.missing)
        self.verdicts: dict[Facts, Decision] = {}

    def same_as(self, other: Compiled) -> bool:
        """Whether both decide the same because they are made of the same sets."""
        return (self.sets, self.missing, self.trust_domain) == (other.sets, other.missing, other.trust_domain)


UNRESTRICTED = Decision(allowed=True, policy=None, reason="no policy")


def evaluate(policies: Compiled, facts: Facts) -> Decision:
    """Decide on one connection."""
    source = facts.source_id
    if source is not None and policies.trust_domain not in (None, source.trust_domain):
        reason = f"client {source} is not of trust domain {policies.trust_domain}"
        return Decision(allowed=False, policy=None, reason=reason)
    if policies.unrestricted:
        return UNRESTRICTED
    known = policies.verdicts.get(facts)
    if known is None:
        if len(policies.verdicts) >= Compiled.VERDICTS:
            policies.verdicts.clear()
        known = policies.verdicts[facts] = _with_dry_run(policies, facts)
    return known


def _with_dry_run(policies: Compiled, facts: Facts) -> Decision:
    decision = _decide(policies.enforced, policies.missing, facts)
    if policies.rehearsed == policies.enforced:
        return decision
    rehearsed = _decide(policies.rehearsed, policies.missing, facts)
    if (rehearsed.allowed, rehearsed.policy) == (decision.allowed, decision.policy):
        return decision
    return replace(decision, dry_run=rehearsed.reason)


def _decide(sets: list[_Indexed], missing: tuple[str, ...], facts: Facts) -> Decision:
    key = _first((each.deny for each in sets), facts)
    if key is not None:
        return Decision(allowed=False, policy=key, reason=f"explicitly denied by: {key}")
    if missing:
        return Decision(allowed=False, policy=missing[0], reason=f"policy {missing[0]} not loaded")
    key = _first((each.allow for each in sets), facts)
    if key is not None:
        return Decision(allowed=True, policy=key, reason=f"allowed by: {key}")
    if any(each.any_allow for each in sets):
        return Decision(allowed=False, policy=None, reason="allow policies exist, but none allowed")
    return Decision(allowed=True, policy=None, reason="no policy denied")


def _first(indices: Iterable[Index], facts: Facts) -> str | None:
    """The first policy by name of which a rule matches."""
    return min((key for index in indices if (key := index.first(facts)) is not None), default=None)
