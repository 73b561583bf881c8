"""Whether this machine can hold a testbed: what `doctor` shows and what every bring-up begins with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.engines import choice
from harness.engines.choice import Choice
from harness.errors import EnvironmentUnfit
from harness.testbed import leftovers, trial
from harness.testbed.lock import Busy, MeasuringLock
from harness.testbed.requirements import REQUIREMENTS, Lacking, Needed, NotTried, Requirement


class Status(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARNING = "warning"
    """The testbed works, the numbers may suffer."""
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One row: what was looked at, what was found, what to do."""

    name: str
    status: Status
    found: str
    fix: str = ""


def preflight(requested: str) -> Choice:
    """Choose an engine and make sure that a testbed can live on it; what that takes is gone again.

    Raises:
        UsageError: There is no engine of the requested name.
        EnvironmentUnfit: A check failed; one line for each that did. Or another run is measuring.
    """
    chosen = choice.choose(requested)
    # trying takes two seconds of both cores, which a run that measures must not lose
    with MeasuringLock():
        failed = [check for check in checks(chosen) if check.status is Status.FAILED]
    if failed:
        lines = "".join(f"\n  {check.name}: {check.found}; {check.fix}" for check in failed)
        raise EnvironmentUnfit(f"this machine cannot hold a testbed on engine {chosen.name}:{lines}")
    return chosen


def checks(chosen: Choice) -> list[Check]:
    """Everything that a testbed on this engine needs, each row by the code that uses it."""
    results = trial.results(chosen)
    return [_row(each, results) for each in REQUIREMENTS if chosen.name in each.engines]


def _row(requirement: Requirement, results: Mapping[str, trial.Result]) -> Check:
    name = requirement.name
    try:
        return Check(name=name, status=Status.OK, found=requirement.look(results))
    except NotTried as exc:
        return Check(name=name, status=Status.SKIPPED, found=f"not tried: {exc}")
    except Lacking as exc:
        if requirement.needed is Needed.ALWAYS:
            return Check(name=name, status=Status.FAILED, found=str(exc), fix=requirement.remedy)
        found = f"{exc}; {requirement.without}"
        return Check(name=name, status=Status.WARNING, found=found, fix=requirement.remedy)


def diagnosis(requested: str) -> list[Check]:
    """All that `doctor` shows: every engine, the choice, its checks, and what would disturb a measurement."""
    rows = []
    for name in choice.known():
        reason = choice.named(name).unfit()
        status = Status.OK if reason is None else Status.WARNING
        rows.append(Check(name=f"engine {name}", status=status, found=reason or "works"))
    try:
        chosen = choice.choose(requested)
    except EnvironmentUnfit as exc:
        rows.append(Check(name="engine", status=Status.FAILED, found=str(exc), fix="see the rows above"))
        return rows
    rows.append(Check(name="engine", status=Status.OK, found=f"{chosen.name} ({chosen.reason})"))
    try:
        with MeasuringLock():
            rows += checks(chosen)
    except Busy as exc:
        rows.append(Check(name="needed", status=Status.SKIPPED, found=f"not tried: {exc}"))
    return [*rows, _cores(), _load(), _cgroup(), _leftovers()]


def _cores() -> Check:
    count = len(os.sched_getaffinity(0))
    if count < 2:
        found, fix = f"{count} usable", "give it two: load and proxies would measure each other's waiting"
        return Check(name="cores", status=Status.WARNING, found=found, fix=fix)
    return Check(name="cores", status=Status.OK, found=f"{count} usable")


def _load() -> Check:
    one_minute, _, _ = os.getloadavg()
    busy = one_minute / (os.cpu_count() or 1)
    shown = f"{one_minute:.2f} over the last minute"
    if busy > 0.5:
        return Check(name="load", status=Status.WARNING, found=shown, fix="wait, or stop what runs beside")
    return Check(name="load", status=Status.OK, found=shown)


def _cgroup() -> Check:
    version = "v2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "v1"
    return Check(name="cgroup", status=Status.OK, found=version)


def _leftovers() -> Check:
    warning = leftovers.warning()
    if warning:
        found, _, fix = warning.rpartition(" Remove with: ")
        return Check(name="leftovers", status=Status.WARNING, found=found, fix=fix)
    return Check(name="leftovers", status=Status.OK, found="none")
