"""One file per check, found by name: `tunnel_reuse.py` is the check `tunnel-reuse`.

Each binds `check`, a pure function from a case to an outcome. Its docstring says what it proves. It
reads evidence through the case; what it cannot read makes it unknown, by an exception that it lets pass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from harness.evidence.case import Case
from harness.evidence.laws import Outcome

CheckFunction = Callable[[Case], Outcome]


@cache
def known() -> dict[str, CheckFunction]:
    """Name -> function of every check, sorted by name."""
    modules = sorted(module.name for module in iter_modules(__path__))
    return {name.replace("_", "-"): import_module(f"{__name__}.{name}").check for name in modules}
