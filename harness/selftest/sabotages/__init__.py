"""One file per sabotage, found by name: `rules_removed.py` is the sabotage `rules-removed`.

Each binds `FIRES` (the check that has to find it, a remark's kind, or `run-failed`), `BECAUSE` (words of the
reason that it has to give) and, where it needs more than an altered member, a class `Sabotage` of harm. Its
docstring says what is done. `CELL`, `LANES`, `ALTERATION`, `ALTERS`, `NEW_ROUND` and `ENDS_BED` have
defaults.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from harness.engines.api import Role
from harness.selftest.harm import Harm

REUSE_ON = "cross-node.pyztunnel.redirect.reuse-on"
REUSE_OFF = "cross-node.pyztunnel.redirect.reuse-off"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sabotage:
    """A way to make a cell lie, and what has to find it."""

    name: str
    does: str
    """One line."""
    fires: str
    because: str
    cell: str
    """Key of the configuration that it is done to."""
    lanes: int
    """1: the cell is alone in its bout; 2: its twin stands beside it, and it is the twin that is harmed."""
    harm: type[Harm]
    alteration: tuple[str, ...]
    """Module and arguments that start members instead of their own module; empty: they are as they are."""
    alters: str
    """Role or name of those members."""
    new_round: bool
    """Whether the harm is done to a round of its own, in which proxies have to be started anew."""
    ends_bed: bool
    """Whether the testbed cannot be used after it."""


@cache
def known() -> dict[str, Sabotage]:
    """Every sabotage by name, sorted."""
    modules = sorted(module.name for module in iter_modules(__path__))
    found = [_read(name, import_module(f"{__name__}.{name}")) for name in modules]
    return {each.name: each for each in found}


def _read(name: str, module: ModuleType) -> Sabotage:
    return Sabotage(
        name=name.replace("_", "-"),
        does=(inspect.getdoc(module) or "").splitlines()[0],
        fires=module.FIRES,
        because=module.BECAUSE,
        cell=getattr(module, "CELL", REUSE_ON),
        harm=getattr(module, "Sabotage", Harm),
        lanes=getattr(module, "LANES", 1),
        alters=getattr(module, "ALTERS", Role.ZTUNNEL.value),
        new_round=getattr(module, "NEW_ROUND", False),
        alteration=getattr(module, "ALTERATION", ()),
        ends_bed=getattr(module, "ENDS_BED", False),
    )
