"""Which policies apply to which workload: those of the mesh, of its namespace, and those that it lists.

Compiled when first asked for, once for all workloads of one namespace and list. What has not changed
since the snapshot before is not compiled again, so the same answer means: nothing to judge anew.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from proxy.background import breathing
from proxy.rbac import Action, Compiled, Policy, PolicySet, Scope

Listed = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unloaded:
    """A policy that is wanted but could not be read and has no previous version."""

    key: str
    namespace: str
    scope: Scope | None
    """None where not even that could be read: then it is for its whole namespace."""
    action: Action | None


class Applying:
    """The policies of one snapshot, by whom they apply to."""

    def __init__(
        self,
        policies: Mapping[str, Policy],
        unloaded: Iterable[Unloaded] = (),
        *,
        previous: Applying | None = None,
    ) -> None:
        """Sort them by scope.

        Args:
            policies: By key.
            unloaded: Policies that must be assumed to deny; of an ALLOW policy, to allow nobody.
            previous: Of the snapshot before.
        """
        self._policies = policies
        self._scoped: defaultdict[str | None, dict[str, Policy]] = defaultdict(dict)
        self._unreadable: defaultdict[str | None, set[str]] = defaultdict(set)
        for key, policy in breathing(policies.items()):
            if policy.scope is not Scope.WORKLOAD_SELECTOR:
                self._scoped[None if policy.scope is Scope.GLOBAL else policy.namespace][key] = policy
        for lost in unloaded:
            where = None if lost.scope is Scope.GLOBAL else lost.namespace
            if lost.scope is Scope.WORKLOAD_SELECTOR:
                continue  # those that list it have it among the missing
            if lost.action is Action.ALLOW:
                # Without its rules it allows nobody, and others still may.
                self._scoped[where][lost.key] = _allowing_nobody(lost)
            else:
                self._unreadable[where].add(lost.key)
        self.sets: dict[str | Listed | None, PolicySet] = {}
        self.compiled: dict[tuple[str, Listed, frozenset[str]], Compiled] = {}
        self._sets_before = previous.sets if previous is not None else {}
        self._compiled_before = previous.compiled if previous is not None else {}

    def to(self, namespace: str, listed: Listed, trust_domains: frozenset[str]) -> Compiled:
        """What applies to the workloads of a namespace that list these policies and trust these domains."""
        selection = (namespace, listed, trust_domains)
        compiled = self.compiled.get(selection)
        if compiled is None:
            compiled = self.compiled[selection] = self._compile(*selection)
        return compiled

    def _compile(self, namespace: str, listed: Listed, trust_domains: frozenset[str]) -> Compiled:
        made = Compiled(
            self._set(None, self._scoped[None]),
            self._set(namespace, self._scoped[namespace]),
            self._set(listed, {key: self._policies[key] for key in listed if key in self._policies}),
            missing={
                *(key for key in listed if key not in self._policies),
                *self._unreadable[None],
                *self._unreadable[namespace],
            },
            trust_domains=trust_domains,
        )
        before = self._compiled_before.get((namespace, listed, trust_domains))
        return before if before is not None and before.same_as(made) else made

    def _set(self, which: str | Listed | None, policies: Mapping[str, Policy]) -> PolicySet:
        found = self.sets.get(which)
        if found is None:
            found = self._sets_before.get(which)
            if found is None or found.policies != policies:
                found = PolicySet(policies)
            self.sets[which] = found
        return found


def _allowing_nobody(policy: Unloaded) -> Policy:
    name = policy.key.removeprefix(f"{policy.namespace}/")
    return Policy(name=name, namespace=policy.namespace, scope=Scope.NAMESPACE, action=Action.ALLOW, rules=())
