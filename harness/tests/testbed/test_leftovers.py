"""Which runs may be removed: those whose owner is known to be dead, and what was made to stand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from harness.engines import choice
from harness.engines.api import Remains, Run
from harness.engines.owner import Owner
from harness.testbed import leftovers, rundir
from harness.testbed.leftovers import Standing
from harness.testbed.rundir import RunDir, State


@dataclass
class Module:
    """An engine's file, with remains that a test writes."""

    found: list[Remains] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)

    def unfit(self) -> str | None:
        return None

    def remains(self) -> list[Remains]:
        return self.found

    def engine(self, run: Run) -> Module:
        self.removing = run.id
        return self

    def remove(self) -> None:
        self.removed.append(self.removing)
        self.found = [found for found in self.found if found.run_id != self.removing]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch, base: Path) -> Module:
    """The only engine there is."""
    made = Module()
    assert not base.exists()
    monkeypatch.setattr(choice, "known", lambda: ["docker"])
    monkeypatch.setattr(choice, "named", lambda _: made)
    return made


ALIVE = Owner.current()
DEAD = replace(ALIVE, start=ALIVE.start + 1)
ELSEWHERE = replace(ALIVE, pid_namespace="1")


def _folder(owner: Owner, state: State = State.STARTING) -> RunDir:
    made = RunDir.create(engine="docker", suite="smoke", lanes=[])
    rundir._write(made.path, replace(made.journal, owner=str(owner), state=state))
    return made


def _things(run_id: str, owner: Owner | None) -> Remains:
    return Remains(run_id=run_id, owner=owner, things=("container x",))


@pytest.mark.parametrize(
    ("owner", "state", "something", "standing"),
    [
        (ALIVE, State.STARTING, True, Standing.LIVE),
        (ALIVE, State.MEASURING, True, Standing.LIVE),
        (ALIVE, State.STANDING, True, Standing.LIVE),
        (DEAD, State.STARTING, True, Standing.LEFT),
        (DEAD, State.STARTING, False, Standing.LEFT),
        (DEAD, State.MEASURING, True, Standing.LEFT),
        (DEAD, State.STANDING, True, Standing.UP),
        (DEAD, State.STANDING, False, Standing.LEFT),
        (ELSEWHERE, State.STARTING, True, Standing.UNKNOWN),
        (ELSEWHERE, State.STANDING, True, Standing.UNKNOWN),
    ],
)
def test_what_may_be_done_follows_from_owner_state_and_what_exists(
    module: Module, owner: Owner, state: State, something: bool, standing: Standing
) -> None:
    """F69."""
    folder = _folder(owner, state)
    if something:
        module.found.append(_things(folder.journal.run_id, owner))

    (found,) = leftovers.runs()

    assert found.standing is standing


@pytest.mark.parametrize(
    ("owner", "standing"), [(DEAD, Standing.LEFT), (ALIVE, Standing.LIVE), (None, Standing.UNKNOWN)]
)
def test_things_without_a_folder_are_judged_by_their_label(
    module: Module, owner: Owner | None, standing: Standing
) -> None:
    module.found.append(_things("abcdef", owner))

    (found,) = leftovers.runs()

    assert found.standing is standing


def test_removing_one_run_leaves_the_others(module: Module) -> None:
    """F70."""
    dead, alive = _folder(DEAD), _folder(ALIVE)
    module.found += [_things(folder.journal.run_id, DEAD) for folder in (dead, alive)]
    found = next(each for each in leftovers.runs() if each.run_id == dead.journal.run_id)
    told: list[str] = []

    leftovers.remove(found, told.append)

    assert module.removed == [dead.journal.run_id]
    assert not dead.path.exists()
    assert alive.path.exists()
    assert dead.journal.run_id in told[0]


def test_without_a_known_owner_nothing_is_removed(module: Module) -> None:
    """F70."""
    module.found.append(_things("abcdef", None))
    (found,) = leftovers.runs()

    with pytest.raises(ValueError, match="abcdef"):
        leftovers.remove(found, _ignore)

    assert module.removed == []


def test_the_warning_names_what_dead_runs_left_and_nothing_else(module: Module) -> None:
    assert leftovers.warning() == ""
    alive, dead = _folder(ALIVE), _folder(DEAD)
    module.found.append(_things(dead.journal.run_id, DEAD))

    warning = leftovers.warning()

    assert dead.journal.run_id in warning
    assert alive.journal.run_id not in warning
    assert "ambientbench down --all" in warning


@pytest.mark.usefixtures("module")
def test_orphans_are_removed_whether_folders_files_or_links(base: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    kept.mkdir()
    base.mkdir()
    (base / "folder").mkdir()
    (base / "file").touch()
    (base / "link").symlink_to(kept)

    leftovers.remove_orphans(_ignore)

    assert list(base.iterdir()) == []
    assert kept.exists()


def _ignore(_: str) -> None:
    """Takes lines for the user."""
