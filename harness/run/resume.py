"""Going on with a run: the cells that are left, or more rounds, in the same folder.

Only what is the same run is gone on with: the same suite, machine and commit. A plan with more rounds
begins with the very cells of the shorter one, since each round's order is drawn after the one before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from harness.errors import UsageError
from harness.plan.model import Plan
from harness.plan.order import plan
from harness.results.read import StoredRun
from harness.suite.model import Suite


def continued(stored: StoredRun, suite: Suite, *, append: int = 0) -> Plan:
    """The plan to go on with.

    Args:
        stored: The run as it lies on disk.
        suite: The suite that it was made from, as it is now.
        append: Rounds to add.

    Raises:
        UsageError: Nothing is left to do, or the suite is not what it was.
    """
    run = stored.manifest.run
    if suite.hash != stored.manifest.suite_hash:
        raise UsageError(
            f"resume {run}: {suite.file} is no longer the suite that the run was made from "
            f"(hash {suite.hash[:12]}, then {stored.manifest.suite_hash[:12]}); start a new run"
        )
    longer = plan(replace(suite, most_rounds=stored.plan.rounds + append), seed=stored.plan.seed)
    if longer.cells[: len(stored.plan.cells)] != stored.plan.cells:
        raise UsageError(f"resume {run}: this version lays its cells out in another order; start a new run")
    if not append and len(stored.measured) == len(stored.plan.cells):
        raise UsageError(
            f"resume {run}: all {len(stored.plan.cells)} cells are measured; --append N adds N rounds"
        )
    return longer


def check_same_place(stored: StoredRun, here: Mapping[str, Any]) -> None:
    """Refuse to mix what another machine, kernel or commit measured into one run.

    Args:
        here: As `harness.results.environment.collect` returns it.

    Raises:
        UsageError: With what differs.
    """
    differing = []
    for group, names in (("host", ("kernel", "cpu", "cores_usable")), ("source", ("commit",))):
        for name in names:
            then = stored.environment.get(group, {}).get(name)
            now = here.get(group, {}).get(name)
            if then != now:
                differing.append(f"{name}: {then} then, {now} now")
    if differing:
        raise UsageError(
            f"resume {stored.manifest.run}: its rounds would not be of one kind; {'; '.join(differing)}; "
            "start a new run"
        )
