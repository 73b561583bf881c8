"""Run folders: they appear whole, and tell who made them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.engines.owner import Owner
from harness.errors import EnvironmentUnfit
from harness.testbed import rundir
from harness.testbed.rundir import JOURNAL, STAGING, RunDir, State


def _create() -> RunDir:
    return RunDir.create(engine="netns", suite="smoke", lanes=[])


def test_a_new_folder_is_closed_to_others_and_tells_its_owner(base: Path) -> None:
    made = _create()

    assert made.path.parent == base
    assert made.path.stat().st_mode & 0o777 == 0o700
    assert made.run.owner == Owner.current()
    assert rundir.existing() == [made]
    assert rundir.orphans() == []


@pytest.mark.usefixtures("base")
def test_ids_differ() -> None:
    assert _create().journal.run_id != _create().journal.run_id


def test_the_journal_follows_the_state(base: Path) -> None:
    made = _create().marked(State.STANDING)

    assert base.is_dir()
    assert rundir.existing() == [made]
    assert rundir.existing()[0].journal.state is State.STANDING


def test_a_removed_folder_is_gone_and_removing_twice_is_no_error(base: Path) -> None:
    made = _create()
    made.remove()
    made.remove()

    assert list(base.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"run_id": 1}', None],
    ids=["empty", "torn", "a list", "no keys", "half", "no file"],
)
def test_a_folder_without_a_readable_journal_is_an_orphan(base: Path, content: str | None) -> None:
    folder = base / "abcdef"
    folder.mkdir(parents=True)
    if content is not None:
        (folder / JOURNAL).write_text(content)

    assert rundir.existing() == []
    assert rundir.orphans() == [folder]


def test_a_folder_in_the_making_is_an_orphan_only_when_its_maker_is_dead(base: Path) -> None:
    owner = Owner.current()
    alive = base / f"{STAGING}{owner.pid}-{owner.start}"
    dead = base / f"{STAGING}{owner.pid}-{owner.start + 1}"
    alive.mkdir(parents=True)
    dead.mkdir()

    assert rundir.orphans() == [dead]


def test_a_place_that_others_can_write_to_is_refused(base: Path) -> None:
    base.mkdir(mode=0o777)
    base.chmod(0o777)

    with pytest.raises(EnvironmentUnfit, match=r"777.*remove it, or set XDG_RUNTIME_DIR"):
        _create()


def test_a_place_that_is_a_link_is_refused(base: Path, tmp_path: Path) -> None:
    base.symlink_to(tmp_path)

    with pytest.raises(EnvironmentUnfit):
        _create()


def test_a_place_too_deep_for_unix_sockets_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(rundir, "base", lambda: tmp_path / ("d" * 60))

    with pytest.raises(EnvironmentUnfit, match=r"107 bytes.*XDG_RUNTIME_DIR"):
        _create()


def test_the_place_is_below_a_runtime_directory_of_ones_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: tmp_path.stat().st_uid or 1)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    mine = rundir.base()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "absent"))
    absent = rundir.base()

    expected = tmp_path / "ambientbench" if tmp_path.stat().st_uid else Path("/tmp/ambientbench-1")  # noqa: S108
    assert mine == expected
    assert str(absent).startswith("/tmp/ambientbench-")  # noqa: S108


def test_another_owner_stays_another_owner(base: Path) -> None:
    made = _create()
    other = replace(made.journal, owner=str(replace(Owner.current(), pid=1, start=0)))
    rundir._write(made.path, other)

    assert base.is_dir()
    assert rundir.existing()[0].run.owner.pid == 1
