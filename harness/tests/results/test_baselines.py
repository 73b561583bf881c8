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
    assert baselines.KEPT == len(list(baselines.documents(tmp_path)))


def test_an_empty_shelf_has_no_reference(tmp_path: Path) -> None:
    assert baselines.reference(tmp_path, SHELF) is None


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_torn_baseline_is_named(tmp_path: Path, text: str) -> None:
    path = baselines.save(tmp_path, SHELF, kept("one"))
    path.write_text(text)

    with pytest.raises(Unreadable, match=r"one\.json"):
        baselines.reference(tmp_path, SHELF)
