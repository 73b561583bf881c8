"""Which marks are routed to lo: one table in which everything is local, and a rule per mark."""

from __future__ import annotations

from collections.abc import Sequence

from pyroute2.iproute.linux import IPRoute

from harness.agent.rules.marks import MASK, TABLE, PolicyRoute
from harness.agent.sysctls import IPV6

_AF_INET = 2
_AF_INET6 = 10
_EVERYTHING = {_AF_INET: "0.0.0.0/0", _AF_INET6: "::/0"}
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
        for family in sorted({_family(route) for route in routes} - {_family(route) for route in present}):
            kernel.route(
                "replace",
                family=family,
                dst=_EVERYTHING[family],
                oif=_LO,
                table=TABLE,
                type=_RTN_LOCAL,
                scope=_SCOPE_HOST,
            )
        for route in routes:
            if route not in present:
                kernel.rule("add", family=_family(route), **_arguments(route))


def keep(routes: Sequence[PolicyRoute]) -> None:
    """Remove all others. To be done after the rules that set their marks are gone."""
    with IPRoute() as kernel:
        present = _present(kernel)
        for route in present:
            if route not in routes:
                kernel.rule("del", family=_family(route), **_arguments(route))
        for family in sorted({_family(route) for route in present} - {_family(route) for route in routes}):
            kernel.flush_routes(family=family, table=TABLE)


def _arguments(route: PolicyRoute) -> dict[str, int]:
    return {"fwmark": route.mark, "fwmask": MASK, "table": TABLE, "priority": route.preference}


def _family(route: PolicyRoute) -> int:
    return _AF_INET6 if route.ipv6 else _AF_INET


def _present(kernel: IPRoute) -> list[PolicyRoute]:
    return [
        PolicyRoute(mark=rule.get("fwmark"), preference=rule.get("priority"), ipv6=family == _AF_INET6)
        for family in (_AF_INET, *([_AF_INET6] if IPV6.exists() else []))
        for rule in kernel.get_rules(family=family)
        if rule.get("table") == TABLE and rule.get("fwmark")
    ]
