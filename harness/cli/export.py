"""`export`: a run's figures in another tool's format."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli._output import Json, emit, say
from harness.errors import UsageError


class Format(StrEnum):
    """What can be written."""

    CSV = "csv"
    OPENMETRICS = "openmetrics"
    BMF = "bmf"
    FORTIO = "fortio"


EXAMPLE = "export latest --format openmetrics --output run.txt"


def command(
    run: Annotated[
        str, typer.Argument(help="A run's name or its beginning, its folder, or `latest`.")
    ] = "latest",
    *,
    form: Annotated[
        Format, typer.Option("--format", help="csv, openmetrics, bmf (Bencher) or fortio.")
    ] = Format.CSV,
    output: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="A file, or with fortio a folder; else standard output."),
    ] = None,
    results: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("results"),
    json: Json = False,
) -> None:
    """Write a run's figures in another tool's format, from its raw files."""
    from harness.analysis.findings import analyse  # noqa: PLC0415  # pandas is not for --help
    from harness.report.exports import FORMATS  # noqa: PLC0415
    from harness.results.read import find_run, read  # noqa: PLC0415

    if form is Format.FORTIO and output is None:
        raise UsageError("export --format fortio: a result a configuration; name a folder with --output")
    if json and output is None:
        raise UsageError("export --json: it lists the files that were written; name them with --output")
    written = FORMATS[form](analyse(read(find_run(run, results))))
    if output is None:
        say(str(written).rstrip("\n"))
        return
    files = (
        {output: written}
        if isinstance(written, str)
        else {output / name: text for name, text in written.items()}
    )
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    if json:
        emit([str(path) for path in files])
    else:
        say("\n".join(map(str, files)))
