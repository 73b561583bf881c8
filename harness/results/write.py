"""Writing a run, in the order in which it happens."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import duckdb
import numpy as np

from harness.load.records import PROBE_FIELDS
from harness.plan.document import to_document as plan_to_document
from harness.plan.model import Plan, State
from harness.results import layout
from harness.results.atomic import Unwritable, new_folder, remove_unfinished, write_file
from harness.results.schema import DELAY_SCHEMA, CellRecord, Instant, Manifest, RunStatus
from harness.suite.model import Suite

Document = Mapping[str, Any]


def now() -> Instant:
    """This moment on both clocks."""
    return Instant(
        wall=datetime.now(UTC).isoformat(timespec="milliseconds"), monotonic_ns=time.monotonic_ns()
    )


class RunWriter:
    """One run's folder. Every method leaves it readable, whatever happens next."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.manifest = manifest
        self._database = duckdb.connect()
        # one file of a few thousand rows: more threads would only disturb what is measured next
        self._database.execute("set threads = 1")

    @classmethod
    def create(
        cls,
        root: Path,
        *,
        run: str,
        suite: Suite,
        plan: Plan,
        topology: str,
        environment: Document,
        command: Sequence[str],
        looks: Sequence[int],
        engine: str,
        engine_reason: str,
    ) -> Self:
        """Save everything that is known before anything starts.

        Args:
            root: Where runs are kept; made when absent.
            topology: The resolved topology as JSON text.
            environment: As `harness.results.environment.collect` returns it.
            command: The command line that makes this run again.

        Raises:
            Unwritable: The folder cannot be made.
            FileExistsError: A run of that name is there already.
        """
        manifest = Manifest(
            run=run,
            status=RunStatus.PLANNED,
            command=tuple(command),
            suite={"file": suite.file, "overrides": list(suite.overrides), **suite.document()},
            suite_hash=suite.hash,
            seed=plan.seed,
            engine=engine,
            engine_reason=engine_reason,
            looks=tuple(looks),
            started=now(),
        )
        if root.is_dir():
            remove_unfinished(root)
        with new_folder(root / run) as folder:
            (folder / layout.CELLS).mkdir()
            for name, text in {
                layout.RUN: _json(manifest.document()),
                layout.PLAN: _json(plan_to_document(plan)),
                layout.TOPOLOGY: topology.encode(),
                layout.ENVIRONMENT: _json(environment),
            }.items():
                (folder / name).write_bytes(text)
        return cls(root / run, manifest)

    @classmethod
    def go_on(cls, folder: Path, manifest: Manifest, plan: Plan, measured: Collection[int]) -> Self:
        """Open a run's folder again; what a crash left half-written goes, bouts that were saved whole stay.

        Args:
            manifest: As `harness.results.read.read_manifest` returns it.
            plan: The run's plan, or a longer one that begins with it.
            measured: Indices of the cells that stay.

        Raises:
            Unwritable: The folder is as it was.
        """
        remove_unfinished(folder)
        remove_unfinished(folder / layout.CELLS)
        for cell in plan.cells:
            if cell.index not in measured:
                shutil.rmtree(folder / layout.CELLS / cell.name, ignore_errors=True)
        write_file(folder / layout.PLAN, _json(plan_to_document(plan)))
        writer = cls(folder, manifest)
        writer._save(
            dataclasses.replace(
                manifest,
                status=RunStatus.PLANNED,
                reason="",
                ended=None,
                # rounds that are added are one look more, at their end
                looks=tuple(dict.fromkeys((*manifest.looks, max(plan.rounds, *manifest.looks)))),
                sessions=(*manifest.sessions, now()),
            )
        )
        return writer

    def update(
        self,
        *,
        status: RunStatus | None = None,
        reason: str = "",
        timing: Mapping[str, float] | None = None,
    ) -> None:
        """Record how far the run is; `timing` (seconds) is added to what is known."""
        changes: dict[str, Any] = {"timing": {**self.manifest.timing, **(timing or {})}}
        if status is not None:
            changes |= {"status": status, "reason": reason}
            if status not in {RunStatus.PLANNED, RunStatus.RUNNING}:
                changes["ended"] = now()
        self._save(dataclasses.replace(self.manifest, **changes))

    def members(self, members: Document) -> None:
        """Record what runs: images, versions, capabilities."""
        self._save(dataclasses.replace(self.manifest, members=dict(members)))

    def delay(self, trips: Sequence[Document]) -> None:
        """Add round trips at each distance that the run asks for, measured before its cells."""
        path = self.folder / layout.DELAY
        before = json.loads(path.read_bytes())["trips"] if path.exists() else []
        write_file(path, _json({"schema_version": DELAY_SCHEMA, "trips": [*before, *trips]}))

    def cell(self, record: CellRecord, payloads: Mapping[str, bytes], evidence: Document) -> Path:
        """Save a cell; its folder appears whole.

        Args:
            record: Which cell, when, and what the checks said.
            payloads: Stage -> rows as they came from the load process (`harness.load.records`).
            evidence: Source -> document.

        Raises:
            Unwritable: Nothing of this cell was saved; all others are.
        """
        target = self.folder / layout.CELLS / record.cell.name
        with new_folder(target) as folder:
            rows = {}
            for stage, payload in payloads.items():
                name, fields = layout.SAMPLES[stage]
                rows[stage] = self._samples(folder / name, payload, fields)
            (folder / layout.EVIDENCE).mkdir()
            for source, document in evidence.items():
                (folder / layout.EVIDENCE / f"{source}.json").write_bytes(_json(document, indent=None))
            (folder / layout.CELL).write_bytes(_json(record.document(rows)))
            (folder / layout.CHECKSUMS).write_text(checksums(folder))
        return target

    def findings(self, document: Document) -> None:
        """Save the analysis."""
        write_file(self.folder / layout.FINDINGS, _json(document))

    def close(self) -> None:
        """Let go of the database that writes the samples."""
        self._database.close()

    def _save(self, manifest: Manifest) -> None:
        write_file(self.folder / layout.RUN, _json(manifest.document()))
        self.manifest = manifest

    def _samples(self, path: Path, payload: bytes, fields: Sequence[str]) -> int:
        rows = np.frombuffer(payload, dtype="<i8").reshape(-1, len(fields))
        samples = {name: np.ascontiguousarray(rows[:, column]) for column, name in enumerate(fields)}
        columns = ", ".join(_column(name, fields) for name in fields)
        quoted = str(path).replace("'", "''")
        self._database.register("samples", samples)
        try:
            self._database.execute(
                f"copy (select {columns} from samples) to '{quoted}' (format parquet, compression zstd)"  # noqa: S608  # our own path and column names
            )
        except duckdb.Error as exc:
            raise Unwritable(f"save {path}: {exc}") from exc
        finally:
            self._database.unregister("samples")
        return len(rows)


def _column(name: str, fields: Sequence[str]) -> str:
    if name == "ok":
        return "ok <> 0 as ok"
    if name == "state" and fields == PROBE_FIELDS:
        words = ", ".join(f"'{state.value}'" for state in State)
        return f"[{words}][state + 1] as state"
    return name


def checksums(folder: Path) -> str:
    """The folder's files in the form of sha256sum, sorted."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != layout.CHECKSUMS)
    return "".join(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files
    )


def _json(document: object, *, indent: int | None = 1) -> bytes:
    """Indented for people, by an encoder that takes ten times as long."""
    return json.dumps(document, indent=indent, allow_nan=False).encode() + b"\n"
