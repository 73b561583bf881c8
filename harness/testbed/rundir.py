"""A run's folder and its journal, which is written before anything else is made.

The folder appears whole, by a rename, with the journal in it: at no moment does something of a run
exist that neither its folder nor its labels tell of.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from harness.engines.api import Run
from harness.engines.owner import Life, Owner
from harness.errors import EnvironmentUnfit
from harness.topology.layout import Layout

JOURNAL = "run.json"
STAGING = ".new-"
SOCKET_PATH_MAX = 107
"""Bytes in sun_path (sys/un.h), less the closing zero."""
LONGEST_SOCKET = len("/controlplane/") + 32 + len("/control.sock")
"""What may follow the run's folder: names in a topology have at most 32 characters."""


class State(StrEnum):
    """How far a run has come."""

    STARTING = "starting"
    MEASURING = "measuring"
    STANDING = "standing"
    """Made by `up`: it outlives its owner, until `down`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Journal:
    """What is known of a run from the outside."""

    run_id: str
    engine: str
    owner: str
    created: str
    state: State
    suite: str
    lanes: list[dict[str, Any]]
    """What each lane carries, the first lane first, as `Placement.document` says it."""


def base() -> Path:
    """Where this user's runs are: /run/ambientbench for root, else below XDG_RUNTIME_DIR or /tmp."""
    uid = os.getuid()
    if uid == 0:
        return Path("/run/ambientbench")
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    if runtime and Path(runtime).is_dir() and Path(runtime).stat().st_uid == uid:
        return Path(runtime) / "ambientbench"
    return Path(f"/tmp/ambientbench-{uid}")  # noqa: S108  # checked below: ours, and closed to others


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDir:
    """One run's folder."""

    path: Path
    journal: Journal

    @classmethod
    def create(cls, *, engine: str, suite: str, lanes: Sequence[dict[str, Any]]) -> Self:
        """Make a folder with a new id for a run of this process.

        Raises:
            EnvironmentUnfit: The folder cannot be made, or belongs to someone else.
        """
        owner = Owner.current()
        journal = Journal(
            run_id=secrets.token_hex(3),
            engine=engine,
            owner=str(owner),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            state=State.STARTING,
            suite=suite,
            lanes=list(lanes),
        )
        parent = base()
        path = parent / journal.run_id
        _usable(parent)
        if len(os.fsencode(path)) + LONGEST_SOCKET > SOCKET_PATH_MAX:
            raise EnvironmentUnfit(
                f"run folder {path}: unix socket paths below it would exceed {SOCKET_PATH_MAX} bytes; "
                "set XDG_RUNTIME_DIR to a shorter path"
            )
        staging = parent / f"{STAGING}{owner.pid}-{owner.start}"
        try:
            staging.mkdir(mode=0o700)
            _write(staging, journal)
            staging.rename(path)
        except OSError as exc:
            shutil.rmtree(staging, ignore_errors=True)
            raise EnvironmentUnfit(f"make the run folder {path}: {exc.strerror}") from exc
        return cls(path=path, journal=journal)

    @property
    def run(self) -> Run:
        """What engines have to know."""
        return Run(id=self.journal.run_id, directory=self.path, owner=Owner.parse(self.journal.owner))

    @property
    def layout(self) -> Layout:
        """The files below."""
        return Layout(self.path)

    def marked(self, state: State) -> RunDir:
        """The same run, further on; written to its journal."""
        return self._noted(replace(self.journal, state=state))

    def carrying(self, lanes: Sequence[dict[str, Any]]) -> RunDir:
        """The same run with other placements; written to its journal."""
        return self._noted(replace(self.journal, lanes=list(lanes)))

    def _noted(self, journal: Journal) -> RunDir:
        _write(self.path, journal)
        return replace(self, journal=journal)

    def remove(self) -> None:
        """Remove the folder; files that vanish meanwhile are no error."""
        shutil.rmtree(self.path, ignore_errors=True)


def existing() -> list[RunDir]:
    """Every run folder of this user that has a readable journal."""
    found = []
    for path in sorted(base().glob("*")):
        journal = _read(path)
        if journal is not None:
            found.append(RunDir(path=path, journal=journal))
    return found


def orphans() -> list[Path]:
    """Folders in this user's place without a readable journal, whose maker is not at work on them."""
    found = []
    for path in sorted(base().iterdir()) if base().is_dir() else []:
        if path.name.startswith(STAGING):
            pid, _, start = path.name.removeprefix(STAGING).partition("-")
            maker = replace(Owner.current(), pid=int(pid or 0), start=int(start or 0))
            if maker.life is Life.ALIVE:
                continue
        elif _read(path) is not None:
            continue
        found.append(path)
    return found


def _usable(parent: Path) -> None:
    """Make the folder of all runs; what others could have put in its place is refused."""
    try:
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = parent.stat(follow_symlinks=False)
    except OSError as exc:
        raise EnvironmentUnfit(f"make {parent}, the folder of all runs: {exc.strerror}") from exc
    if status.st_uid != os.getuid() or parent.is_symlink() or status.st_mode & 0o022:
        raise EnvironmentUnfit(
            f"{parent}, the folder of all runs, belongs to uid {status.st_uid} with mode "
            f"{status.st_mode & 0o777:o}; it has to be this user's alone: remove it, or set XDG_RUNTIME_DIR"
        )


def _write(path: Path, journal: Journal) -> None:
    part = path / f"{JOURNAL}.part"
    part.write_text(json.dumps(asdict(journal), indent=2) + "\n")
    part.replace(path / JOURNAL)


def _read(path: Path) -> Journal | None:
    try:
        fields: dict[str, Any] = json.loads((path / JOURNAL).read_text())
        Owner.parse(fields["owner"])
        return Journal(**{**fields, "state": State(fields["state"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
