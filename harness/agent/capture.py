"""Bringing a namespace to a rule set: routes first, then rules, read back and compared, then what is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module

from harness.agent import policy_routes, sysctls
from harness.agent.appliers import ORDER, OWN, Applier, ApplyError, digest_of, verify
from harness.agent.appliers.restore import Restore
from harness.agent.rules import captured, levels
from harness.agent.rules.model import Chain, RuleSet, Table
from harness.agent.wanted import Carried, Wanted


def bring(*, applier: str, wanted: Wanted) -> Carried:
    """Bring the namespace that the process is in to what is wanted.

    Raises:
        ApplyError: The kernel refused the rules, or holds others than were written.
        LockHeld: Another program kept the iptables lock.
    """
    chosen = load(applier)
    policy_routes.add(wanted.routes)
    sysctls.write(wanted.sysctls)
    chosen.apply(wanted.rules)
    policy_routes.keep(wanted.routes)
    lines = chosen.read([table.name for table in wanted.rules.tables])
    verify(wanted.rules, lines)
    return Carried(digest=digest_of(lines), rules=len(lines))


def refusals(*, applier: str, ipv6: bool = False) -> dict[str, str]:
    """Try every level: level -> why this applier cannot write its rules here, empty where it can.

    To be called in a fresh namespace, in a process that may end: libiptc ends it where it is at a loss.

    Raises:
        ApplyError: There is no such applier, or it cannot be loaded.
    """
    chosen = load(applier)
    return {level: _refusal(chosen, level, ipv6=ipv6) for level in levels.names()}


def load(name: str) -> Applier:
    """The applier of that name.

    Raises:
        ApplyError: There is none, or it cannot be loaded.
    """
    if name not in APPLIERS:
        raise ApplyError(f"unknown applier {name!r}; known: {', '.join(sorted(APPLIERS))}")
    try:
        return APPLIERS[name]()
    except Exception as exc:
        raise ApplyError(f"{name} cannot be loaded: {exc}") from exc


def _refusal(chosen: Applier, level: str, *, ipv6: bool) -> str:
    rules = captured(level, ipv6=ipv6).rules
    try:
        chosen.apply(rules)
        verify(rules, chosen.read([table.name for table in rules.tables]))
    except ApplyError as exc:
        return f"{exc}{_culprit(chosen, rules)}"
    return ""


def _culprit(chosen: Applier, rules: RuleSet) -> str:
    """Which rule is refused by itself: the kernel says of a whole table only that it does not take it."""
    for table in rules.tables:
        for chain in table.chains:
            for rule in chain.rules:
                if rule.target is not None and rule.target.name.startswith(OWN):
                    continue  # a jump, to a chain that would not be there
                alone = Chain(name=f"{OWN[-1]}ALONE", rules=(rule,))
                try:
                    chosen.apply(RuleSet(tables=(Table(name=table.name, chains=(alone,)),)))
                except ApplyError:
                    return f"; refused by itself: {table.name} {rule.text}"
    return ""


def _iptc() -> Applier:
    # loads C libraries, which may be absent; python-iptables then raises a bare Exception
    return import_module("harness.agent.appliers.iptc").Iptc()  # type: ignore[no-any-return]


APPLIERS: Mapping[str, Callable[[], Applier]] = dict(zip(ORDER, (_iptc, Restore), strict=True))
"""In the order in which they are tried."""
