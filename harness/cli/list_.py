"""`list`: show the runs that are kept, the suites, or the data planes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli._output import Json, emit, say, table


class What(StrEnum):
    """What can be listed."""

    RUNS = "runs"
    SUITES = "suites"
    DATAPLANES = "dataplanes"


EXAMPLE = "list suites"


def command(
    what: Annotated[What, typer.Argument(help="What to list.")] = What.RUNS,
    *,
    results: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("results"),
    json: Json = False,
) -> None:
    """List runs, the latest last; or suites, or data planes."""
    if what is What.RUNS:
        from harness.results.index import runs  # noqa: PLC0415  # duckdb and pandas are not for --help

        found = [each.document() for each in runs(results)]
    else:
        from harness.suite.resolve import known_dataplanes  # noqa: PLC0415
        from harness.suite.sources import HERE, SHIPPED, known_suites  # noqa: PLC0415

        suites = {*known_suites(HERE), *known_suites(SHIPPED)}
        names = sorted(suites if what is What.SUITES else known_dataplanes())
        found = [{"name": name} for name in names]
    if json:
        emit(found)
    elif found:
        say(_shown(found))
    else:
        say(f"no {what.value} in {results}" if what is What.RUNS else f"no {what.value}")


def _shown(found: list[dict[str, Any]]) -> str:
    return table(
        found[0], ([("" if value is None else str(value)) for value in each.values()] for each in found)
    )
