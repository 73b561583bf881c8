"""The policies of one workload, in their order of evaluation.

A DENY policy that matches; a policy that should be there and is not (closed: what it would have said is
unknown); then ALLOW, where one that matches is needed as soon as one exists. Policies of a dry run
decide nothing, but what they would decide is told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from proxy.background import breathing
from proxy.rbac.facts import Decision, Facts
from proxy.rbac.index import Index
from proxy.rbac.policy import Action, Policy, Rule


class _Indexed:
    """Policies by action."""

    __slots__ = ("allow", "any_allow", "deny")

    def __init__(self, policies: list[Policy]) -> None:
        self.deny: Index = Index(_rules(policies, Action.DENY))
        self.allow: Index = Index(_rules(policies, Action.ALLOW))
        self.any_allow = any(policy.action is Action.ALLOW for policy in breathing(policies))


def _rules(policies: list[Policy], action: Action) -> list[tuple[str, Rule]]:
    return [
        (policy.key, rule)
        for policy in breathing(policies)
        if policy.action is action
        for rule in policy.rules
    ]


class PolicySet:
    """Policies that apply together: those of the mesh, of a namespace, of a workload's own list."""

    __slots__ = ("enforced", "policies", "rehearsed")

    def __init__(self, policies: Mapping[str, Policy]) -> None:
        """Index them by key."""
        self.policies = policies
        every = list(policies.values())
        in_force = [policy for policy in breathing(every) if not policy.dry_run]
        self.enforced: _Indexed = _Indexed(in_force)
        self.rehearsed: _Indexed = self.enforced if len(in_force) == len(every) else _Indexed(every)
        """As if those of a dry run were in force."""


class Compiled:
    """The policies that apply to one workload, ready to be evaluated.

    Verdicts are remembered: a policy's answer depends on the facts alone.
    """

    __slots__ = ("enforced", "missing", "rehearsed", "sets", "trust_domains", "unrestricted", "verdicts")

    VERDICTS = 4096
    """Facts remembered before all are forgotten; about 0.5 MB."""

    def __init__(
        self, *sets: PolicySet, missing: Iterable[str] = (), trust_domains: frozenset[str] | None = None
    ) -> None:
        """Put together.

        Args:
            sets: All that apply.
            missing: Names of policies that should apply but are not there: connections are denied.
            trust_domains: Whose identities are taken; None: all. Looked at when a tunnel is accepted, too,
                but a tunnel may outlive the change of a workload's trust domain.
        """
        self.trust_domains = trust_domains
        self.sets = tuple(each for each in sets if each.policies)
        self.missing = tuple(sorted(missing))
        self.enforced = [each.enforced for each in self.sets]
        self.rehearsed = [each.rehearsed for each in self.sets]
        self.unrestricted = not (self.sets or self.missing)
        self.verdicts: dict[Facts, Decision] = {}

    def same_as(self, other: Compiled) -> bool:
        """Whether both decide the same because they are made of the same sets."""
        return (self.sets, self.missing, self.trust_domains) == (
            other.sets,
            other.missing,
            other.trust_domains,
        )


UNRESTRICTED = Decision(allowed=True, policy=None, reason="no policy")


def evaluate(policies: Compiled, facts: Facts) -> Decision:
    """Decide on one connection."""
    source = facts.source_id
    trusted = policies.trust_domains
    if source is not None and trusted is not None and source.trust_domain not in trusted:
        reason = f"client {source} is not of trust domain {' or '.join(sorted(trusted))}"
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
