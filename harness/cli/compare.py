"""`compare`: hold runs against a reference."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from harness.cli._output import Annotate, Json, Junit, emit, note, say
from harness.errors import ExitCode, UsageError


class Format(StrEnum):
    """How the answer is written."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"
    HTML = "html"


EXAMPLE = "compare run-a run-b --gate --junit gates.xml"


def command(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="A B [C ...]", help="Stored runs, or files of `baseline save`; A is the reference."
        ),
    ],
    *,
    baseline: Annotated[
        bool, typer.Option("--baseline", help="The kept baseline is the reference of every run named.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Compare runs that are not alike; the result is marked.")
    ] = False,
    gate: Annotated[
        bool,
        typer.Option("--gate", help="Exit 5 when anything is worse, else 6 when anything is open."),
    ] = False,
    junit: Junit = None,
    annotate: Annotate = False,
    form: Annotated[Format, typer.Option("--format", help="How to write it.")] = Format.TEXT,
    results: Annotated[Path, typer.Option(help="Where runs and baselines are kept.")] = Path("results"),
    json: Json = False,
) -> int:
    """Compare runs metric by metric: change, interval, verdict. Unlike runs are refused."""
    from harness.analysis.across import Change, across, unlike  # noqa: PLC0415  # scipy is not for --help
    from harness.cli._excerpts import reference_excerpt, run_excerpt  # noqa: PLC0415
    from harness.report import ci  # noqa: PLC0415
    from harness.report.changes import html, markdown, text  # noqa: PLC0415

    if len(runs) < (1 if baseline else 2):
        raise UsageError("compare: two runs or more are needed, the reference first; or one and --baseline")
    excerpts = [run_excerpt(name, results) for name in runs]
    if baseline:
        pairs = [(reference_excerpt(each, results), each) for each in excerpts]
    else:
        pairs = [(excerpts[0], each) for each in excerpts[1:]]
    differing = [reason for pair in pairs for reason in unlike(*pair)]
    if differing and not force:
        raise UsageError(
            "compare: these runs are not alike, a difference would not be the code's:\n  "
            + "\n  ".join(differing)
            + "\n--force compares them all the same and marks the result"
        )
    found = [across(reference, run) for reference, run in pairs]
    if json or form is Format.JSON:
        emit([each.document() for each in found])
    elif form is Format.HTML:
        say(html(found))
    else:
        say(ci.capped(markdown(found)) if form is Format.MARKDOWN else text(found))
    cases = [case for each in found for case in ci.cases_of_changes(each)]
    if junit:
        junit.write_text(ci.junit("ambientbench compare", cases), encoding="utf-8")
    if annotate:
        for line in ci.github(cases):
            note(line)
    if gate and any(each.of(Change.WORSE) for each in found):
        return ExitCode.REGRESSION
    if gate and any(each.of(Change.OPEN) for each in found):
        return ExitCode.INVALID
    return ExitCode.OK
