"""Reading a run: verify first, then believe.

A run whose own files are torn, altered or from a newer version is refused. A cell whose files are is
kept, with what is wrong with it as `damage`: analysis treats it as unknown and says why.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import numpy as np
import pandas as pd

from harness.errors import UsageError
from harness.plan.document import from_document as plan_from_document
from harness.plan.model import Plan
from harness.results import layout
from harness.results.atomic import TEMPORARY
from harness.results.imported import imported
from harness.results.schema import (
    CELL_MIGRATIONS,
    CELL_SCHEMA,
    DELAY_SCHEMA,
    RUN_MIGRATIONS,
    RUN_SCHEMA,
    CellRecord,
    Manifest,
    Migrations,
    OtherSchema,
    up_to_date,
)

T = TypeVar("T")


class Unreadable(UsageError):
    """A run folder cannot be believed; the message names the file and what is wrong with it."""


class Damaged(Exception):
    """One file of a cell is not what was saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCell:
    """One measurement of a cell, as it lies on disk."""

    folder: Path
    record: CellRecord
    rows: Mapping[str, int]
    evidence: Mapping[str, Any]
    """Source -> document; a source whose file is gone or altered is absent."""
    damage: tuple[str, ...]
    """What is missing or altered, one sentence each; empty for a cell as it was saved."""

    def samples(self, stage: str) -> pd.DataFrame:
        """The samples of one of the stages in `rows`, columns as in `harness.load.records`.

        Raises:
            Damaged: The file is torn, altered, or holds what cannot have been measured.
        """
        name, fields = layout.SAMPLES[stage]
        path = self.folder / name
        try:
            frame = _database().execute("select * from read_parquet(?)", [str(path)]).df()
        except duckdb.Error as exc:
            raise Damaged(f"{path.name} cannot be read: {str(exc).splitlines()[0]}") from exc
        if list(frame.columns) != list(fields):
            raise Damaged(
                f"{path.name} has columns {', '.join(frame.columns)}; {', '.join(fields)} were expected"
            )
        if len(frame) != self.rows[stage]:
            raise Damaged(f"{path.name} holds {len(frame)} rows, {self.rows[stage]} were saved")
        good = frame["ok"].to_numpy(dtype=bool)
        for earlier, later in layout.ORDERED[stage]:
            wrong = int(np.count_nonzero((frame[later] < frame[earlier]).to_numpy() & good))
            if wrong:
                raise Damaged(f"{path.name}: {later} is before {earlier} in {wrong} rows")
        return frame


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run, as it lies on disk."""

    folder: Path
    manifest: Manifest
    plan: Plan
    topology: Mapping[str, Any]
    environment: Mapping[str, Any]
    cells: tuple[StoredCell, ...]
    """In the order of the plan."""
    imported: Mapping[str, Any] = field(default_factory=dict)
    """Name -> another tool's result that was laid beside them."""
    delay: tuple[Mapping[str, Any], ...] = ()
    """Round trips across the delay line before the cells; empty where nothing was delayed."""

    @property
    def measured(self) -> frozenset[int]:
        """Indices of the cells that it has, of bouts that were saved whole."""
        saved = {cell.record.cell.index for cell in self.cells}
        whole = (bout.cells for bout in self.plan.bouts if {cell.index for cell in bout.cells} <= saved)
        return frozenset(cell.index for cells in whole for cell in cells)


def read(folder: Path) -> StoredRun:
    """Read a run's folder.

    Raises:
        Unreadable: It is no run, or one of its own files is torn, altered or of a newer version.
    """
    if not folder.is_dir() or not (folder / layout.RUN).is_file():
        raise Unreadable(
            f"{folder} is no run: there is no {folder / layout.RUN}; `ambientbench list` shows runs"
        )
    manifest = _parsed(folder / layout.RUN, Manifest.from_document, RUN_SCHEMA, RUN_MIGRATIONS)
    plan = _parsed(folder / layout.PLAN, plan_from_document)
    by_name = sorted(
        path for path in (folder / layout.CELLS).glob("*") if not path.name.startswith(TEMPORARY)
    )
    return StoredRun(
        folder=folder,
        manifest=manifest,
        plan=plan,
        topology=_load(folder / layout.TOPOLOGY),
        environment=_load(folder / layout.ENVIRONMENT),
        cells=tuple(_cell(path) for path in by_name),
        imported=imported(folder),
        delay=_parsed(folder / layout.DELAY, lambda document: tuple(document["trips"]), DELAY_SCHEMA)
        if (folder / layout.DELAY).is_file()
        else (),
    )


def find_run(name: str, root: Path = layout.DEFAULT_ROOT) -> Path:
    """The folder meant by a path, a run's name, the unique beginning of one, or `latest`.

    Raises:
        Unreadable: There is none, or more than one.
    """
    if Path(name).is_dir():
        return Path(name)
    runs = sorted(path.name for path in run_folders(root))
    if name == "latest" and runs:
        return root / runs[-1]
    matching = [run for run in runs if run == name] or [run for run in runs if run.startswith(name)]
    if len(matching) == 1:
        return root / matching[0]
    known = ", ".join(matching or runs[-5:]) or "none yet"
    found = f"{len(matching)} runs begin so" if matching else "no such run"
    raise Unreadable(f"{name}: {found} in {root}/ (there: {known})")


def run_folders(root: Path) -> Iterator[Path]:
    """Folders below `root` that hold a run, unsorted."""
    for path in root.glob("*"):
        if not path.name.startswith(TEMPORARY) and (path / layout.RUN).is_file():
            yield path


def read_manifest(folder: Path) -> Manifest:
    """A run's `run.json` alone.

    Raises:
        Unreadable: It is torn, altered or of a newer version.
    """
    return _parsed(folder / layout.RUN, Manifest.from_document, RUN_SCHEMA, RUN_MIGRATIONS)


@cache
def _database() -> duckdb.DuckDBPyConnection:
    """One connection for all files: opening it takes longer than reading one of them."""
    return duckdb.connect()


def _cell(folder: Path) -> StoredCell:
    path = folder / layout.CELL
    document = _load(path)
    record = _parsed(path, CellRecord.from_document, CELL_SCHEMA, CELL_MIGRATIONS)
    damage, good = _verify(folder)
    evidence = {}
    for file in sorted((folder / layout.EVIDENCE).glob("*.json")):
        if f"{layout.EVIDENCE}/{file.name}" in good:
            evidence[file.stem] = _load(file)
    return StoredCell(
        folder=folder, record=record, rows=document["rows"], evidence=evidence, damage=tuple(damage)
    )


def _verify(folder: Path) -> tuple[list[str], set[str]]:
    """Hold a cell's files against their checksums: what is wrong, and which files are as they were saved."""
    try:
        lines = (folder / layout.CHECKSUMS).read_text().splitlines()
        expected = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    except (OSError, ValueError):
        return [f"{layout.CHECKSUMS} is missing or torn: nothing in this cell can be verified"], set()
    damage, good = [], set()
    for name, digest in expected.items():
        try:
            found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError:
            damage.append(f"{name} is missing")
            continue
        if found == digest:
            good.add(name)
        else:
            damage.append(f"{name} is not as it was saved: its checksum differs")
    return damage, good


def _load(path: Path) -> Any:
    def refuse(constant: str) -> float:
        raise ValueError(f"{constant} is no number")

    try:
        return json.loads(path.read_bytes(), parse_constant=refuse)
    except OSError as exc:
        raise Unreadable(f"{path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise Unreadable(f"{path} is torn or altered: {exc}") from exc


def _parsed(
    path: Path,
    parse: Callable[[Mapping[str, Any]], T],
    schema: int | None = None,
    migrations: Migrations | None = None,
) -> T:
    document = _load(path)
    try:
        if schema is not None:
            document = up_to_date(document, schema, migrations or {})
        return parse(document)
    except OtherSchema as exc:
        raise Unreadable(f"{path} has {exc}: read it with the version of ambientbench that wrote it") from exc
    except (KeyError, TypeError, ValueError) as exc:
        raise Unreadable(f"{path} does not have the form of a run's {path.name}: {exc!r}") from exc
