"""Excerpts that are kept to be compared with, on one shelf per environment and suite.

    results/baselines/<environment>/<suite>-<hash>/<run>.json      rolling: the latest `KEPT` of them
                                                  /reference.json  the promoted one, which does not roll

What is in an excerpt is `harness.analysis.excerpt`'s; here it is a document with a `run`. A file that
is none is named and passed over, so that one stray file does not take the others away.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.results.atomic import write_file
from harness.results.read import Unreadable

log = logging.getLogger("harness.results.baselines")

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
    for old in list(_rolling(folder))[:-KEPT]:
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
        Unreadable: The promoted one is torn.
    """
    rolling = list(_rolling(root / FOLDER / shelf).values())
    return promoted(root, shelf) or (rolling[-1] if rolling else None)


def promoted(root: Path, shelf: str) -> Document | None:
    """The promoted excerpt of a shelf.

    Raises:
        Unreadable: The file is torn.
    """
    path = root / FOLDER / shelf / REFERENCE
    return load(path) if path.is_file() else None


def shelves(root: Path) -> dict[str, dict[Path, Document]]:
    """Shelf -> its rolling excerpts by their files, the latest last."""
    folders = sorted(path for path in (root / FOLDER).glob("[!.]*/[!.]*") if path.is_dir())
    return {str(folder.relative_to(root / FOLDER)): _rolling(folder) for folder in folders}


def documents(root: Path) -> Iterator[tuple[Path, Document]]:
    """Every rolling excerpt of every shelf, with its file."""
    for rolling in shelves(root).values():
        yield from rolling.items()


def load(path: Path) -> Document:
    """One excerpt.

    Raises:
        Unreadable: The file is torn or no excerpt.
    """
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as exc:
        raise Unreadable(
            f"read baseline {path}: {exc}; `ambientbench baseline save RUN` writes it anew"
        ) from exc
    if not isinstance(document, dict):
        raise Unreadable(f"read baseline {path}: a table was expected, found {type(document).__name__}")
    missing = [key for key in ("run", "measures") if key not in document]
    if missing:
        raise Unreadable(f"read baseline {path}: no excerpt of a run, {' and '.join(missing)} missing")
    return document


def _rolling(folder: Path) -> dict[Path, Document]:
    """Files that begin with a dot are some other system's notes on the ones beside them."""
    found = {}
    for path in sorted(folder.glob("[!.]*.json")):
        if path.name == REFERENCE:
            continue
        try:
            found[path] = load(path)
        except Unreadable as exc:
            log.warning("passed over: %s", exc)
    return found


def _json(document: Document) -> bytes:
    """One line per measure: small, and a diff shows what moved."""
    measures = ",\n".join(f"  {json.dumps(each)}" for each in document["measures"])
    rest = json.dumps({**document, "measures": []}, indent=1, allow_nan=False)
    return rest.replace('"measures": []', f'"measures": [\n{measures}\n ]').encode() + b"\n"
