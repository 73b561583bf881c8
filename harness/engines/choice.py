"""Which engine a testbed lives on, and why."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from harness.engines.api import EngineModule
from harness.errors import EnvironmentUnfit, UsageError

PREFERRED = ("docker", "netns")
"""The first that works is taken: containers keep parts further apart and limit them better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An engine, and why it was taken, in words that follow its name."""

    name: str
    module: EngineModule
    reason: str


def known() -> list[str]:
    """All engines' names, sorted: the files here that can tell whether they are fit."""
    files = Path(__file__).parent.glob("*.py")
    return sorted(path.stem for path in files if "\ndef unfit(" in path.read_text())


def named(name: str) -> EngineModule:
    """The engine of that name.

    Raises:
        UsageError: There is none; the message lists those that are.
    """
    if name not in known():
        raise UsageError(f"unknown engine {name!r}; known: {', '.join(known())}")
    return cast("EngineModule", importlib.import_module(f"harness.engines.{name}"))


def choose(requested: str) -> Choice:
    """The requested engine, or with an empty request the first preferred one that works here.

    Raises:
        UsageError: There is no engine of that name.
        EnvironmentUnfit: It cannot be used here, or none can; the message says why for each.
    """
    if requested:
        module = named(requested)
        reason = module.unfit()
        if reason is not None:
            raise EnvironmentUnfit(f"engine {requested} was asked for, but {reason}")
        return Choice(name=requested, module=module, reason="asked for")
    refused: list[str] = []
    for name in PREFERRED:
        module = named(name)
        reason = module.unfit()
        if reason is None:
            why = "; ".join(refused) if refused else "it answers, and is preferred where it does"
            return Choice(name=name, module=module, reason=why)
        refused.append(f"not {name}: {reason}")
    raise EnvironmentUnfit(f"no engine works here: {'; '.join(refused)}")
