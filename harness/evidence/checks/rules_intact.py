"""The packet rules were those that we wrote, from the cell's start to its end."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Outcome
from harness.evidence.model import CheckStatus
from harness.evidence.sources.document import Unreadable
from harness.evidence.sources.rules import NAME, NamespaceRules

NOT_OURS = ("changed", "foreign")
"""What the agent calls a rule that it did not write: one in a chain of ours, one elsewhere."""


def check(case: Case) -> Outcome:
    """The digest of the rules read back equals that of the rules written, in every namespace, both times."""
    wanted = set(case.namespaces)
    changed: list[str] = []
    for moment, namespaces in (("before", case.rules.before), ("after", case.rules.after)):
        unread = sorted(wanted - set(namespaces))
        if unread:
            raise Unreadable(NAME, f"{moment} the cell, nothing was read of {', '.join(unread)}")
        changed += [
            f"{name} {moment} the cell: {_short(rules.digest)} instead of {_short(rules.expected_digest)}"
            for name, rules in namespaces.items()
            if rules.digest != rules.expected_digest
        ]
    changed += [
        f"{name} rewritten in between: {_short(rules.digest)}, then {_short(case.rules.after[name].digest)}"
        for name, rules in case.rules.before.items()
        if name in case.rules.after and rules.digest != case.rules.after[name].digest
    ]
    changed += [
        f"{name} {moment} the cell: {table} {chain} holds a rule that is {found}"
        for moment, namespaces in (("before", case.rules.before), ("after", case.rules.after))
        for name, rules in namespaces.items()
        for table, chain, found in sorted(rules.packets)
        if found in NOT_OURS
    ]
    count = len(case.rules.after)
    if changed:
        return Outcome(
            status=CheckStatus.INVALID,
            reason=f"rules are not those written: {'; '.join(changed)}",
            numbers={"namespaces": count, "differences": len(changed)},
        )
    rules = sum(_count(namespace) for namespace in case.rules.after.values())
    return Outcome(
        status=CheckStatus.VALID,
        reason=f"{count} namespaces with {rules} counted rules read back as written, before and after",
        numbers={"namespaces": count, "rules": rules},
    )


def _short(digest: str) -> str:
    return digest[:12] or "nothing"


def _count(namespace: NamespaceRules) -> int:
    return len(namespace.packets)
