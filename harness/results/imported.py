"""Results of other tools that lie beside a run's own: kept as they came, in `imported/` of its folder."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.results.atomic import write_file
from harness.results.layout import IMPORTED

Document = Mapping[str, Any]


def add(folder: Path, name: str, document: Document) -> Path:
    """Put a result beside a run's own; one of that name is replaced.

    Args:
        folder: The run's.
        name: What it shall be called; letters, digits, dot, dash and underscore stay.

    Raises:
        Unwritable: Nothing was added.
    """
    (folder / IMPORTED).mkdir(exist_ok=True)
    path = folder / IMPORTED / f"{re.sub(r'[^A-Za-z0-9._-]', '-', name).lstrip('.') or 'result'}.json"
    write_file(path, json.dumps(document, indent=1, allow_nan=False).encode() + b"\n")
    return path


def imported(folder: Path) -> dict[str, Document]:
    """Name -> result; what is no JSON table is left out, as it was not put there by `add`."""
    found: dict[str, Document] = {}
    for path in sorted((folder / IMPORTED).glob("*.json")):
        try:
            document = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue
        if isinstance(document, dict):
            found[path.stem] = document
    return found
