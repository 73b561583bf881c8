"""Older documents come up to date version by version; every version before today's has its migration."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness.results import layout, schema
from harness.results import read as reading
from harness.results.read import read
from harness.results.schema import (
    CELL_MIGRATIONS,
    CELL_SCHEMA,
    RUN_MIGRATIONS,
    RUN_SCHEMA,
    Migrations,
    OtherSchema,
    up_to_date,
)
from harness.suite import load_suite
from harness.tests import synthetic

STEPS: Migrations = {
    1: lambda document: {**document, "names": [document["name"]]},
    2: lambda document: {key: value for key, value in document.items() if key != "name"},
}


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"schema_version": 1, "name": "a"}, {"schema_version": 3, "names": ["a"]}),
        ({"schema_version": 2, "name": "a", "names": ["b"]}, {"schema_version": 3, "names": ["b"]}),
        ({"schema_version": 3, "names": ["c"]}, {"schema_version": 3, "names": ["c"]}),
    ],
)
def test_each_version_is_made_the_next_one(document: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    before = dict(document)

    assert expected == up_to_date(document, 3, STEPS)
    assert before == document


def test_a_later_version_is_refused() -> None:
    with pytest.raises(OtherSchema, match="schema_version 4; this version reads 3"):
        up_to_date({"schema_version": 4}, 3, STEPS)


def test_a_version_from_which_nothing_leads_on_is_refused() -> None:
    with pytest.raises(OtherSchema, match="schema_version 0; this version reads 3"):
        up_to_date({"schema_version": 0}, 3, STEPS)


@pytest.mark.parametrize(
    ("today", "migrations"), [(RUN_SCHEMA, RUN_MIGRATIONS), (CELL_SCHEMA, CELL_MIGRATIONS)]
)
def test_all_versions_after_the_first_in_turns_can_be_read(today: int, migrations: Migrations) -> None:
    """Version 1 measured one cell after another; there are no pairs in it."""
    assert list(range(2, today)) == sorted(migrations)


def test_a_run_of_an_older_version_is_read_as_what_it_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a change of form: today's version is one more, and knows what yesterday's files meant."""
    folder = synthetic.record(tmp_path, load_suite("smoke", dataplanes=("none", "pyztunnel")))
    path = folder / layout.RUN
    document = json.loads(path.read_text())
    document["why"] = document.pop("reason") or "as asked"
    path.write_text(json.dumps(document))
    monkeypatch.setattr(reading, "RUN_SCHEMA", schema.RUN_SCHEMA + 1)
    renamed: Migrations = {schema.RUN_SCHEMA: lambda older: {**older, "reason": older["why"]}}
    monkeypatch.setattr(reading, "RUN_MIGRATIONS", renamed)

    assert read(folder).manifest.reason == "as asked"
