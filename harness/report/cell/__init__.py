"""What can be seen of one cell: one block per file, found by name and ordered by its `ORDER`.

Each binds `ORDER` (int) and `blocks`, a pure function from a run's findings and one of its cells to
blocks. The page shows them when somebody opens the cell in its matrix; nothing of them is a figure
of `harness.report.figures`, since a run has hundreds of cells and the page one size.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from harness.analysis.findings import Findings
from harness.analysis.judge import JudgedCell
from harness.report.cell._block import SHARES, Block, Curve

__all__ = ["SHARES", "Block", "Curve", "blocks", "known"]


@cache
def known() -> dict[str, ModuleType]:
    """Name -> module of every kind of block, in the order of the page."""
    names = (module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
    modules = {name: import_module(f"{__name__}.{name}") for name in names}
    return dict(sorted(modules.items(), key=lambda item: item[1].ORDER))


def blocks(findings: Findings, cell: JudgedCell) -> Iterator[Block]:
    """Everything that is shown of a cell."""
    for module in known().values():
        yield from module.blocks(findings, cell)
