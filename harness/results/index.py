"""The runs that are kept, one line each."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from harness.results import layout
from harness.results.read import Unreadable, read_manifest, run_folders


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A run as listed. A run that cannot be read is listed too, with the reason as its status."""

    run: str
    status: str
    suite: str
    engine: str
    started: str
    cells: int
    """Measurements saved."""
    invalid: int | None
    """Invalid cells by the last analysis; None before any."""

    def document(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)


def runs(root: Path) -> list[Entry]:
    """Every run below `root`, the latest last."""
    return [_entry(folder) for folder in sorted(run_folders(root), key=lambda path: path.name)]


def _entry(folder: Path) -> Entry:
    cells = len(list((folder / layout.CELLS).glob(f"*/{layout.CELL}")))
    try:
        manifest = read_manifest(folder)
    except Unreadable as exc:
        return Entry(
            run=folder.name,
            status=f"unreadable: {exc}",
            suite="",
            engine="",
            started="",
            cells=cells,
            invalid=None,
        )
    return Entry(
        run=folder.name,
        status=manifest.status.value,
        suite=str(manifest.suite.get("name", "")),
        engine=manifest.engine,
        started=manifest.started.wall[:19],
        cells=cells,
        invalid=_invalid(folder),
    )


def _invalid(folder: Path) -> int | None:
    try:
        return int(json.loads((folder / layout.FINDINGS).read_bytes())["cells"]["invalid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
