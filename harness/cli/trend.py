"""`trend`: the runs of one environment and suite over time, and the steps in them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli._output import Json, emit, note, say
from harness.errors import UsageError


class Format(StrEnum):
    """How the answer is written."""

    TEXT = "text"
    JSON = "json"
    HTML = "html"


EXAMPLE = "trend --stored --format html"


def command(
    runs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[RUN ...]", help="Stored runs to add to the kept baselines."),
    ] = None,
    *,
    stored: Annotated[
        bool,
        typer.Option("--stored", help="Add every complete stored run; each is analysed anew."),
    ] = False,
    every: Annotated[bool, typer.Option("--every", help="Every series, not only those with a step.")] = False,
    form: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.TEXT,
    results: Annotated[Path, typer.Option(help="Where runs and baselines are kept.")] = Path("results"),
    json: Json = False,
) -> None:
    """Show each metric over the kept runs of an environment and suite, and where its level changed."""
    from harness.analysis.trend import trends  # noqa: PLC0415  # scipy and ruptures are not for --help
    from harness.cli._excerpts import baseline_excerpts, run_excerpt  # noqa: PLC0415
    from harness.report import trend  # noqa: PLC0415

    excerpts = baseline_excerpts(results)
    kept = {each.run for each in excerpts}
    wanted = [*(runs or ()), *(_complete(results) if stored else ())]
    for name in dict.fromkeys(wanted):
        if name not in kept:
            note(f"analysing {name}")
            excerpts.append(run_excerpt(name, results))
    if not excerpts:
        raise UsageError(
            f"trend: no run was named and {results}/baselines holds none; keep one with "
            "`ambientbench baseline save RUN`, or add stored runs with --stored"
        )
    found = trends(excerpts)
    if json or form is Format.JSON:
        emit([each.document() for each in found])
    elif form is Format.HTML:
        say(trend.html(found))
    else:
        say(trend.text(found, every=every))


def _complete(results: Path) -> list[str]:
    from harness.results.index import runs  # noqa: PLC0415  # duckdb is not for --help

    return [each.run for each in runs(results) if each.status == "complete"]
