"""`report`: analyse a run again, from its raw files, and write its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli._output import Annotate, Json, Junit

EXAMPLE = "report latest --junit cells.xml"


def command(
    run: Annotated[
        str, typer.Argument(help="A run's name or its beginning, its folder, or `latest`.")
    ] = "latest",
    *,
    results: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("results"),
    junit: Junit = None,
    annotate: Annotate = False,
    json: Json = False,
) -> int:
    """Analyse a run from its samples and evidence alone; write findings, report and summary anew."""
    from harness.analysis.findings import analyse  # noqa: PLC0415  # pandas and plotly are not for --help
    from harness.cli._findings import tell  # noqa: PLC0415
    from harness.results.read import find_run, read  # noqa: PLC0415

    return tell(analyse(read(find_run(run, results))), json=json, junit=junit, annotate=annotate)
