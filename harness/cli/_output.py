"""What verbs share: JSON on standard output, lines for people, the options that several verbs take."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output.")]
"""`json_: Json = False`: every verb has it."""

EngineName = Annotated[
    str,
    typer.Option(
        "--engine", envvar="ENGINE", help="docker or netns; by default the one that works here, docker first."
    ),
]
"""`engine: EngineName = ""`: every verb that makes a testbed has it."""


Junit = Annotated[
    Path | None, typer.Option("--junit", metavar="FILE", help="Write what was judged as JUnit XML.")
]
"""`junit: Junit = None`: every verb that judges has it."""

Annotate = Annotated[
    bool, typer.Option("--annotate", help="Print GitHub annotations for failures, on standard error.")
]
"""`annotate: Annotate = False`: every verb that judges has it."""


def replace_characters() -> None:
    """Let a character that standard output's encoding lacks cost that character, not the answer."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def emit(document: Any) -> None:
    """Print a document as JSON."""
    sys.stdout.write(json.dumps(document, indent=2, sort_keys=False, default=str) + "\n")


def say(line: str = "") -> None:
    """Print a line of the answer."""
    sys.stdout.write(line + "\n")


def note(line: str) -> None:
    """Print a line that is not the answer: progress, what was chosen and why, a warning."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def colour() -> bool:
    """Whether standard output may carry colour: a terminal, and NO_COLOR is unset or empty (no-color.org)."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Columns padded to their widest cell, two spaces apart; the last one is not padded."""
    cells = [list(header), *(list(row) for row in rows)]
    widths = [max(len(cell) for cell in column) for column in zip(*cells, strict=True)]
    lines = (zip(row, widths, strict=True) for row in cells)
    return "\n".join("  ".join(cell.ljust(width) for cell, width in line).rstrip() for line in lines)
