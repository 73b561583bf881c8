"""Which marks are routed to lo: one table in which everything is local, and a rule per mark."""

from __future__ import annotations

from collections.abc import Sequence

from pyroute2.iproute.linux import IPRoute

from harness.agent.rules.marks import MASK, TABLE, PolicyRoute

_AF_INET = 2
_LO = 1
"""lo's index: the first link of every namespace."""
_RTN_LOCAL = 2  # linux/rtnetlink.h
_SCOPE_HOST = 254


def add(routes: Sequence[PolicyRoute]) -> None:
    """Bring these to exist, beside what is there. To be done before the rules that set the marks."""
    if not routes:
        return
    with IPRoute() as kernel:
        present = _present(kernel)
        if not present:
            kernel.route("replace", dst="0.0.0.0/0", oif=_LO, table=TABLE, type=_RTN_LOCAL, scope=_SCOPE_HOST)
        for route in routes:
            if route not in present:
                kernel.rule("add", family=_AF_INET, **_arguments(route))


def keep(routes: Sequence[PolicyRoute]) -> None:
    """Remove all others. To be done after the rules that set their marks are gone."""
    with IPRoute() as kernel:
        for route in _present(kernel):
            if route not in routes:
                kernel.rule("del", family=_AF_INET, **_arguments(route))
        if not routes:
            kernel.flush_routes(family=_AF_INET, table=TABLE)


def _arguments(route: PolicyRoute) -> dict[str, int]:
    return {"fwmark": route.mark, "fwmask": MASK, "table": TABLE, "priority": route.preference}


def _present(kernel: IPRoute) -> list[PolicyRoute]:
    return [
        PolicyRoute(mark=rule.get("fwmark"), preference=rule.get("priority"))
        for rule in kernel.get_rules(family=_AF_INET)
        if rule.get("table") == TABLE and rule.get("fwmark")
    ]
