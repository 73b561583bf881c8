"""Interception levels, one file each; a file's name is the level's, with `_` for `-`.

Each file binds `LEVEL`. A new file is a new level, once it has its golden text.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pkgutil import iter_modules

from harness.agent.rules.marks import ACCEPT, NOT_LOOPBACK, TO_PROXY, PolicyRoute, marked
from harness.agent.rules.model import Module, Rule, RuleSet

HEADS = {
    "PREROUTING": (Rule(name="jump-prerouting", why="what arrives", target=Module(name="ISTIO_PRERT")),),
    "OUTPUT": (Rule(name="jump-output", why="what the pod sends", target=Module(name="ISTIO_OUTPUT")),),
}
"""The jumps to the chains that istio-cni uses, the same in every table."""

PASS_BY = (
    Rule(
        name="accept-replies",
        why="the app's replies to the proxy",
        protocol="tcp",
        matches=(marked(TO_PROXY),),
        target=ACCEPT,
    ),
    Rule(
        name="accept-self",
        why="a pod that calls itself, and the proxy's leg to the app",
        destination=NOT_LOOPBACK,
        out_interface="lo",
        target=ACCEPT,
    ),
)
"""What leaves an app and is never captured, whatever captures the rest."""


class UnknownLevel(ValueError):
    """No level of that name; the message lists those that exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """How packets reach the proxy in a captured pod."""

    rules: RuleSet
    routes: tuple[PolicyRoute, ...] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    """Settings below /proc/sys/net that the level needs; every level sets the same ones."""
    filler_table: str = ""
    """The table in which filler rules stand before ours; empty where there is nothing to stand before."""


def names() -> list[str]:
    """The known levels, sorted."""
    return sorted(module.name.replace("_", "-") for module in iter_modules(__path__))


def level(name: str) -> Level:
    """The level of that name.

    Raises:
        UnknownLevel: There is no such file.
    """
    if name not in names():
        raise UnknownLevel(f"unknown interception level {name!r}; known: {', '.join(names())}")
    found: Level = import_module(f"{__name__}.{name.replace('-', '_')}").LEVEL
    return found
