"""A crash at any system call leaves the old content or the new one, never something between."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.results.atomic import TEMPORARY, Unwritable, new_folder, remove_unfinished, write_file


class Crash(BaseException):
    """The process is gone: nothing after this line runs, clean-up included."""


def _crashing(function: Callable[..., object], *, after: bool) -> Callable[..., object]:
    def crash(*args: object, **kwargs: object) -> None:
        if after:
            function(*args, **kwargs)
        raise Crash

    return crash


def _no_folder_sync(number: int) -> Callable[[int], None]:
    """`os.fsync` of a file system that cannot do it with folders."""
    whole = os.fsync

    def fsync(descriptor: int) -> None:
        if stat.S_ISDIR(os.fstat(descriptor).st_mode):
            raise OSError(number, os.strerror(number))
        whole(descriptor)

    return fsync


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_a_file_system_without_folder_sync_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """B22: shares of VirtualBox, Windows and WSL."""
    monkeypatch.setattr("os.fsync", _no_folder_sync(number))

    write_file(tmp_path / "run.json", b"whole")
    with new_folder(tmp_path / "cell") as folder:
        (folder / "samples").write_bytes(b"whole")

    assert (tmp_path / "run.json").read_bytes() == b"whole"
    assert (tmp_path / "cell" / "samples").read_bytes() == b"whole"


def test_a_folder_that_was_not_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", _no_folder_sync(errno.EIO))

    with pytest.raises(Unwritable, match="Input/output error"):
        write_file(tmp_path / "run.json", b"whole")


POINTS = [
    pytest.param("os.fsync", False, id="before-fsync"),
    pytest.param("os.fsync", True, id="after-fsync"),
    pytest.param("pathlib.Path.replace", False, id="before-rename"),
    pytest.param("pathlib.Path.replace", True, id="after-rename"),
    pytest.param("harness.results.atomic.sync_folder", False, id="before-folder-fsync"),
]


@pytest.mark.parametrize(("call", "after"), POINTS)
def test_file_is_old_or_new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, after: bool) -> None:
    """F74."""
    path = tmp_path / "run.json"
    write_file(path, b"old")
    module, name = call.rsplit(".", 1)
    owner = {"os": os, "pathlib.Path": Path}.get(module)
    target = getattr(owner, name) if owner else (lambda *_: None)
    monkeypatch.setattr(call if owner is None else f"{module}.{name}", _crashing(target, after=after))

    with pytest.raises(Crash):
        write_file(path, b"new, and longer than the old one")

    monkeypatch.undo()
    assert path.read_bytes() in {b"old", b"new, and longer than the old one"}
    write_file(path, b"later")
    assert path.read_bytes() == b"later"
    assert [each.name for each in tmp_path.iterdir()] == ["run.json"]


def test_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    """F74."""

    def crash_half_way() -> None:
        with new_folder(tmp_path / "cell") as folder:
            (folder / "a").write_text("1")
            raise Crash

    with pytest.raises(Crash):
        crash_half_way()

    assert not (tmp_path / "cell").exists()
    with new_folder(tmp_path / "cell") as folder:
        (folder / "a").write_text("2")
        assert not (tmp_path / "cell").exists()
    assert (tmp_path / "cell" / "a").read_text() == "2"


def test_folder_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "cell").mkdir()
    with pytest.raises(FileExistsError), new_folder(tmp_path / "cell"):
        pass


def test_unfinished_is_removed(tmp_path: Path) -> None:
    """F74."""
    (tmp_path / f"{TEMPORARY}cell").mkdir()
    (tmp_path / f"{TEMPORARY}cell" / "half").write_text("x")
    (tmp_path / f"{TEMPORARY}run.json").write_text("{")
    (tmp_path / "kept").write_text("x")

    remove_unfinished(tmp_path)

    assert [each.name for each in tmp_path.iterdir()] == ["kept"]


def test_no_room_is_told_with_path_and_free_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """F73."""

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    path = tmp_path / "run.json"
    write_file(path, b"old")
    monkeypatch.setattr("os.fsync", full)

    with pytest.raises(Unwritable, match=r"run\.json: No space left on device; \d+ MB are free in"):
        write_file(path, b"new")

    assert path.read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1
