"""One file per figure, found by name and ordered by its `ORDER`.

Each binds `ORDER` (int) and `figures`, a pure function from findings to the figures that they have
data for. A figure answers the question in its title; its table twin holds what is drawn, and its
reading says in a sentence what can be seen. Plotly is imported here and nowhere else.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from harness.analysis.findings import Findings
from harness.report.figures._figure import Figure, plotly_javascript

__all__ = ["Figure", "all_figures", "known", "plotly_javascript"]


@cache
def known() -> dict[str, ModuleType]:
    """Name -> module of every figure, in the order of the page."""
    names = (module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
    modules = {name: import_module(f"{__name__}.{name}") for name in names}
    return dict(sorted(modules.items(), key=lambda item: item[1].ORDER))


def all_figures(findings: Findings) -> list[Figure]:
    """Every figure that these findings have data for."""
    return [figure for module in known().values() for figure in module.figures(findings)]
