"""Whether a connection may: authorization policies and their evaluation. Pure.

A policy is an OR of rules, a rule an AND of clauses, a clause an OR of matches, a match an AND of
fields, a field an OR of values. A policy without rules never matches; an empty rule or clause
always does; an empty match never does.

policy: what is configured. facts: what is known of a connection, and what was decided.
predicates: one rule as a function. index: which of many rules can match at all.
evaluation: the policies of one workload, their order, and the verdicts remembered.

Source: ztunnel rbac.rs and state.rs (assert_rbac); closed where ztunnel is open: an unknown policy.
"""

from proxy.rbac.evaluation import Compiled, PolicySet, evaluate
from proxy.rbac.facts import Decision, Facts
from proxy.rbac.policy import (
    Action,
    Clause,
    Match,
    Policy,
    Rule,
    Scope,
    ServiceAccountMatch,
    StringKind,
    StringMatch,
)

__all__ = [
    "Action",
    "Clause",
    "Compiled",
    "Decision",
    "Facts",
    "Match",
    "Policy",
    "PolicySet",
    "Rule",
    "Scope",
    "ServiceAccountMatch",
    "StringKind",
    "StringMatch",
    "evaluate",
]
