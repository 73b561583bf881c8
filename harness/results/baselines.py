"""Excerpts that are kept to be compared with, on one shelf per environment and suite.

    results/baselines/<environment>/<suite>-<hash>/<run>.json      rolling: the latest `KEPT` of them
                                                  /reference.json  the promoted one, which does not roll

What is in an excerpt is `harness.analysis.excerpt`'s; here it is a document with a `run`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.results.atomic import write_file
from harness.results.read import Unreadable

FOLDER = "baselines"
REFERENCE = "reference.json"
KEPT = 30
"""Runs on a shelf: a month of nights."""

Document = Mapping[str, Any]


def save(root: Path, shelf: str, document: Document) -> Path:
    """Put an excerpt on its shelf; the oldest ones beyond `KEPT` go.

    Args:
        root: Where runs are kept.
        shelf: `harness.analysis.excerpt.Excerpt.shelf`.

    Raises:
        Unwritable: Nothing was saved.
    """
    folder = root / FOLDER / shelf
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{document['run']}.json"
    write_file(path, _json(document))
    for old in _rolling(folder)[:-KEPT]:
        old.unlink()
    return path


def promote(root: Path, shelf: str, document: Document) -> Path:
    """Make an excerpt the reference of its shelf.

    Raises:
        Unwritable: The former reference is still there.
    """
    save(root, shelf, document)
    path = root / FOLDER / shelf / REFERENCE
    write_file(path, _json(document))
    return path


def reference(root: Path, shelf: str) -> Document | None:
    """The promoted excerpt of a shelf, else the latest one; None from an empty shelf.

    Raises:
        Unreadable: The file is torn.
    """
    folder = root / FOLDER / shelf
    promoted = [path for path in (folder / REFERENCE,) if path.is_file()]
    found = promoted or _rolling(folder)
    return load(found[-1]) if found else None


def shelves(root: Path) -> dict[str, list[Path]]:
    """Shelf -> its rolling excerpts, the latest last."""
    folders = sorted(path for path in (root / FOLDER).glob("*/*") if path.is_dir())
    return {str(folder.relative_to(root / FOLDER)): _rolling(folder) for folder in folders}


def documents(root: Path) -> Iterator[Document]:
    """Every rolling excerpt of every shelf.

    Raises:
        Unreadable: A file is torn.
    """
    for paths in shelves(root).values():
        yield from map(load, paths)


def load(path: Path) -> Document:
    """One excerpt.

    Raises:
        Unreadable: The file is torn or no excerpt.
    """
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise Unreadable(
            f"read baseline {path}: {exc}; `ambientbench baseline save RUN` writes it anew"
        ) from exc
    if not isinstance(document, dict):
        raise Unreadable(f"read baseline {path}: a table was expected, found {type(document).__name__}")
    return document


def _rolling(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if path.name != REFERENCE)


def _json(document: Document) -> bytes:
    """One line per measure: small, and a diff shows what moved."""
    measures = ",\n".join(f"  {json.dumps(each)}" for each in document["measures"])
    rest = json.dumps({**document, "measures": []}, indent=1, allow_nan=False)
    return rest.replace('"measures": []', f'"measures": [\n{measures}\n ]').encode() + b"\n"
