"""What runs have left on this machine, and its removal. Nothing of anyone else's is ever touched.

A thing is ours by an exact label, argument or journal, never by the look of its name; it may be
removed when the process that owns it is known to be dead, or when it was made to stand (`up`) and
is asked to go.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.engines import choice
from harness.engines.api import Run
from harness.engines.owner import Life, Owner
from harness.testbed import rundir
from harness.testbed.rundir import RunDir, State


class Standing(StrEnum):
    """What may be done with a run."""

    LIVE = "live"
    """Its owner is at work: hands off."""
    UP = "up"
    """Made by `up`, complete."""
    LEFT = "left"
    """Its owner is dead."""
    UNKNOWN = "unknown"
    """Its owner cannot be seen from here: hands off."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One run with everything that exists of it."""

    run_id: str
    standing: Standing
    owner: Owner | None
    directory: RunDir | None
    things: dict[str, tuple[str, ...]]
    """Engine -> what it has of this run."""

    @property
    def words(self) -> str:
        """One line for people."""
        things = [f"{len(things)} of {engine}'s" for engine, things in self.things.items()]
        if self.directory is not None:
            things.append(f"folder {self.directory.path}")
        owner = f", made by pid {self.owner.pid}" if self.owner is not None else ""
        return f"run {self.run_id} ({', '.join(things)}{owner})"


def runs() -> list[Found]:
    """Every run of this user that anything exists of."""
    directories = {found.journal.run_id: found for found in rundir.existing()}
    things: dict[str, dict[str, tuple[str, ...]]] = {}
    owners: dict[str, Owner | None] = {
        run_id: Owner.parse(found.journal.owner) for run_id, found in directories.items()
    }
    for engine in choice.known():
        for remains in choice.named(engine).remains():
            of_run = things.setdefault(remains.run_id, {})
            of_run[engine] = of_run.get(engine, ()) + remains.things
            owners.setdefault(remains.run_id, remains.owner)
    return [
        Found(
            run_id=run_id,
            standing=_standing(owners[run_id], directories.get(run_id), bool(things.get(run_id))),
            owner=owners[run_id],
            directory=directories.get(run_id),
            things=things.get(run_id, {}),
        )
        for run_id in sorted(owners)
    ]


def _standing(owner: Owner | None, directory: RunDir | None, something: bool) -> Standing:
    if owner is None:
        return Standing.UNKNOWN
    if owner.life is Life.ALIVE:
        return Standing.LIVE
    if owner.life is Life.UNKNOWN:
        return Standing.UNKNOWN
    if directory is not None and directory.journal.state is State.STANDING and something:
        return Standing.UP
    return Standing.LEFT


def warning() -> str:
    """One line for commands that need a testbed, empty when dead runs left nothing."""
    left = [found for found in runs() if found.standing is Standing.LEFT]
    paths = rundir.orphans()
    if not left and not paths:
        return ""
    words = [found.words for found in left] + [str(path) for path in paths]
    return f"left behind by dead runs: {'; '.join(words)}. Remove with: ambientbench down --all"


def remove(found: Found, told: Callable[[str], None]) -> None:
    """Remove everything of one run; what else exists is not looked at.

    Raises:
        Leftovers: Something is still there; the message says what, and how to remove it by hand.
    """
    owner = found.owner
    if owner is None:
        raise ValueError(f"run {found.run_id} has no known owner: it must not be removed")
    path = found.directory.path if found.directory is not None else rundir.base() / found.run_id
    for engine in found.things:
        choice.named(engine).engine(Run(id=found.run_id, directory=path, owner=owner)).remove()
    if found.directory is not None:
        found.directory.remove()
    told(f"removed {found.words}")


def remove_orphans(told: Callable[[str], None]) -> list[Path]:
    """Remove folders in our place that no live process is making and that no journal explains."""
    paths = rundir.orphans()
    for path in paths:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
        told(f"removed {path}")
    return paths
