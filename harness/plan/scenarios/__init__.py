"""What load a cell may be put under: one file per scenario, found by name; `under_load.py` is `under-load`.

Each binds

    KEYS      what a suite may say of it under `[load.<name>]`; None where the suite's own model says it
    SAMPLES   stage of load -> the shape of its rows
    METRICS   what is read from those rows
    stages    a pure function from the load to the stages that it asks for, none where it is left out

What a stage does is the load processes' own matter: a user in suites/locustfiles answers its operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib import import_module
from itertools import chain
from pkgutil import iter_modules
from types import ModuleType

from harness.plan.model import Load
from harness.plan.scenarios.model import How, Key, Metric, Rows, Stage

__all__ = ["How", "Key", "Metric", "Rows", "Stage", "keyed", "known", "metrics", "samples", "stages"]


@cache
def known() -> dict[str, ModuleType]:
    """Name -> module of every scenario, in the order in which a cell meets them."""
    names = (module.name for module in iter_modules(__path__) if module.name != "model")
    modules = {name.replace("_", "-"): import_module(f"{__name__}.{name}") for name in names}
    return dict(sorted(modules.items(), key=lambda item: item[1].ORDER))


def keyed() -> dict[str, dict[str, Key]]:
    """Scenario -> the keys that a suite may set, of those that have any."""
    return {name: module.KEYS for name, module in known().items() if module.KEYS is not None}


def samples() -> dict[str, Rows]:
    """Stage of load -> the shape of its rows."""
    return {stage: rows for module in known().values() for stage, rows in module.SAMPLES.items()}


def metrics() -> tuple[Metric, ...]:
    """Every metric of every scenario, in their order."""
    return tuple(chain.from_iterable(module.METRICS for module in known().values()))


def stages(load: Load) -> Iterator[Stage]:
    """The stages that a load asks for, in order, after the probes of first packets."""
    for module in known().values():
        yield from module.stages(load)
