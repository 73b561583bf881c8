"""Baselines: what is saved is read, shelves roll, the promoted one stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.results import baselines
from harness.results.read import Unreadable

SHELF = "abc/quick-123"


def kept(run: str) -> dict[str, object]:
    return {"run": run, "measures": [{"metric": "steady"}, {"metric": "rate"}], "noise": {"steady": 1.1}}


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    path = baselines.save(tmp_path, SHELF, kept("one"))

    assert baselines.load(path) == kept("one")
    assert json.loads(path.read_text()) == kept("one")


def test_a_shelf_rolls_and_the_promoted_one_stays(tmp_path: Path) -> None:
    for number in range(baselines.KEPT + 2):
        baselines.save(tmp_path, SHELF, kept(f"run-{number:03d}"))
    latest = f"run-{baselines.KEPT + 1:03d}"

    assert (baselines.reference(tmp_path, SHELF) or {})["run"] == latest
    names = [path.stem for path in baselines.shelves(tmp_path)[SHELF]]
    assert (len(names), names[0], names[-1]) == (baselines.KEPT, "run-002", latest)

    baselines.promote(tmp_path, SHELF, kept("run-005"))
    assert (baselines.reference(tmp_path, SHELF) or {})["run"] == "run-005"
    assert baselines.KEPT == len(dict(baselines.documents(tmp_path)))


def test_an_empty_shelf_has_no_reference(tmp_path: Path) -> None:
    assert baselines.reference(tmp_path, SHELF) is None


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"run": "one"}', "[" * 200_000])
def test_a_torn_reference_is_named(tmp_path: Path, text: str) -> None:
    baselines.promote(tmp_path, SHELF, kept("one"))
    (tmp_path / baselines.FOLDER / SHELF / baselines.REFERENCE).write_text(text)

    with pytest.raises(Unreadable, match=r"reference\.json"):
        baselines.reference(tmp_path, SHELF)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"run": "one"}', "\0\0"])
def test_a_foreign_file_is_named_and_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    """B25: the latest by its name, too."""
    folder = baselines.save(tmp_path, SHELF, kept("one")).parent
    (folder / "zz.json").write_text(text)

    assert baselines.reference(tmp_path, SHELF) == kept("one")
    assert [path.stem for path, _ in baselines.documents(tmp_path)] == ["one"]
    assert str(folder / "zz.json") in caplog.text


def test_files_that_begin_with_a_dot_are_not_looked_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """B25: macOS puts `._one.json` beside `one.json` on shares."""
    folder = baselines.save(tmp_path, SHELF, kept("one")).parent
    (folder / "._one.json").write_bytes(b"\0\5")
    (tmp_path / baselines.FOLDER / ".git" / "x").mkdir(parents=True)

    assert list(baselines.shelves(tmp_path)) == [SHELF]
    assert len(baselines.shelves(tmp_path)[SHELF]) == 1
    assert caplog.text == ""


def test_rolling_removes_no_foreign_file(tmp_path: Path) -> None:
    foreign = baselines.save(tmp_path, SHELF, kept("run-000")).parent / "0.json"
    foreign.write_text("{}")
    for number in range(baselines.KEPT + 1):
        baselines.save(tmp_path, SHELF, kept(f"run-{number:03d}"))

    assert foreign.exists()
