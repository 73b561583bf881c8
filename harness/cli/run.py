"""`run`: bring a testbed up, measure a suite, take it down, report."""

from __future__ import annotations

import shlex
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from harness.cli import PROGRAM
from harness.cli._output import EngineName, Json, emit, note, say
from harness.errors import ExitCode


def command(
    suite: Annotated[str, typer.Argument(help="A suite's name in suites/, or a file.")] = "quick",
    *,
    engine: EngineName = "",
    override: Annotated[
        list[str] | None, typer.Option("-s", metavar="KEY=VALUE", help="Override one key of the suite.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Order of the cells; the suite's or a new one by default.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("results"),
    json: Json = False,
) -> int:
    """Measure a suite and write its report; the testbed is made for the run and removed after it."""
    # pydantic, duckdb, pandas and plotly take seconds that `--help` and the other verbs need not pay.
    from harness.analysis.findings import analyse  # noqa: PLC0415
    from harness.plan.order import plan  # noqa: PLC0415
    from harness.report import save, summary  # noqa: PLC0415
    from harness.results import layout  # noqa: PLC0415
    from harness.results.read import read  # noqa: PLC0415
    from harness.run.interrupts import Interrupted, interrupts  # noqa: PLC0415
    from harness.run.progress import display  # noqa: PLC0415
    from harness.run.story import Request, carry_out  # noqa: PLC0415
    from harness.suite import load_suite  # noqa: PLC0415
    from harness.testbed import leftovers  # noqa: PLC0415
    from harness.testbed.checks import preflight  # noqa: PLC0415
    from harness.testbed.lock import MeasuringLock  # noqa: PLC0415
    from harness.topology.allocator import resolve  # noqa: PLC0415

    loaded = load_suite(suite, override or [])
    topology = resolve(loaded.topology)
    laid_out = plan(loaded, seed=seed)
    again = [PROGRAM, "run", suite, "--seed", str(laid_out.seed)]
    again += [part for each in override or [] for part in ("-s", each)]
    for line in loaded.notes:
        note(f"note: {line}")
    warning = leftovers.warning()
    if warning:
        note(warning)
    chosen = preflight(engine)
    with MeasuringLock():
        request = Request(
            run=layout.run_id(loaded.name, datetime.now(UTC)),
            suite=loaded,
            plan=laid_out,
            topology=topology,
            choice=chosen,
            command=(*again, "--engine", chosen.name),
            results=results,
        )
        note(shlex.join(request.command))
        folder = results / request.run
        code = 0
        with interrupts() as asked, display() as shown:
            try:
                carry_out(request, shown, asked)
            except Interrupted as exc:
                note(f"{exc}: what was measured is in {folder}")
                code = exc.exit_code
    findings = analyse(read(folder))
    page = save(findings, folder)
    if json:
        emit(findings.document())
    else:
        say(summary(findings))
        say(f"report: {page}")
    return code or (ExitCode.INVALID if findings.invalid else ExitCode.OK)
