"""`run`: bring a testbed up, measure a suite, take it down, report."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli import PROGRAM
from harness.cli._output import Annotate, EngineName, Json, Junit, note
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.run.story import Request

SUITE = "quick"
MOST_ROUNDS = 60
"""To which `--until-width` adds rounds where the suite names no number."""

EXAMPLE = "run quick -s rounds=10 --engine netns"


def command(
    suite: Annotated[str, typer.Argument(help="A suite's name in suites/, or a file.")] = "",
    *,
    engine: EngineName = "",
    override: Annotated[
        list[str] | None, typer.Option("-s", metavar="KEY=VALUE", help="Override one key of the suite.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Order of the cells; the suite's or a new one by default.")
    ] = None,
    resume: Annotated[
        str, typer.Option(metavar="RUN", help="Go on with a run: measure the cells that are left.")
    ] = "",
    append: Annotated[
        int, typer.Option(metavar="N", min=0, help="With --resume: add N rounds to the plan.")
    ] = 0,
    until_width: Annotated[
        str,
        typer.Option(
            metavar="5%",
            help="Add rounds until the first packet's intervals are no wider to a side, whatever is open.",
        ),
    ] = "",
    results: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("results"),
    junit: Junit = None,
    annotate: Annotate = False,
    json: Json = False,
) -> int:
    """Measure a suite and write its report; the testbed is made for the run and removed after it."""
    # pydantic, duckdb, pandas and plotly take seconds that `--help` and the other verbs need not pay.
    from harness.analysis.enough import answered, narrow  # noqa: PLC0415
    from harness.analysis.findings import analyse  # noqa: PLC0415
    from harness.cli._findings import tell  # noqa: PLC0415
    from harness.interrupts import Interrupted, interrupts  # noqa: PLC0415
    from harness.results.read import read  # noqa: PLC0415
    from harness.run.progress import display  # noqa: PLC0415
    from harness.run.story import carry_out  # noqa: PLC0415
    from harness.testbed import leftovers  # noqa: PLC0415
    from harness.testbed.lock import MeasuringLock  # noqa: PLC0415

    width = _share(until_width) if until_width else None
    if until_width:
        override = [f"most_rounds={MOST_ROUNDS}", *(override or [])]
    if append and not resume:
        raise UsageError("run --append: which run? name it with --resume RUN")
    if resume and (suite or override or seed is not None):
        raise UsageError("run --resume: the run has its suite, overrides and seed already; leave them out")
    warning = leftovers.warning()
    if warning:
        note(warning)
    if resume:
        request = _resumed(resume, results, engine, append)
    else:
        request = _new(suite or SUITE, override or [], seed, engine, results)
    folder, code = request.results / request.run, 0

    def enough(folder: Path) -> str:
        found = analyse(read(folder))
        return answered(found) if width is None else narrow(found, width)

    with MeasuringLock(), interrupts() as asked:
        note(shlex.join(request.command))
        try:
            with display() as shown:
                carry_out(replace(request, answered=enough), shown, asked)
        except Interrupted as exc:
            note(f"{exc}: what was measured is in {folder}; `{PROGRAM} run --resume {request.run}` goes on")
            code = exc.exit_code
    found = tell(analyse(read(folder)), json=json, junit=junit, annotate=annotate)
    return code or found


def _new(suite: str, overrides: list[str], seed: int | None, engine: str, results: Path) -> Request:
    from harness.plan.order import plan  # noqa: PLC0415
    from harness.results import layout  # noqa: PLC0415
    from harness.run.story import Request  # noqa: PLC0415
    from harness.suite import load_suite  # noqa: PLC0415
    from harness.testbed.checks import preflight  # noqa: PLC0415
    from harness.topology.allocator import resolve  # noqa: PLC0415

    loaded = load_suite(suite, overrides)
    laid_out = plan(loaded, seed=seed)
    topology = resolve(loaded.topology, laid_out.lanes)
    for line in loaded.notes:
        note(f"note: {line}")
    chosen = preflight(engine)
    again = [PROGRAM, "run", suite, "--seed", str(laid_out.seed)]
    again += [part for each in overrides for part in ("-s", each)]
    return Request(
        run=layout.run_id(loaded.name, datetime.now(UTC)),
        suite=loaded,
        plan=laid_out,
        topology=topology,
        choice=chosen,
        command=(*again, "--engine", chosen.name),
        results=results,
    )


def _resumed(run: str, results: Path, engine: str, append: int) -> Request:
    from harness.results import environment  # noqa: PLC0415
    from harness.results.read import find_run, read  # noqa: PLC0415
    from harness.run.resume import check_same_place, continued  # noqa: PLC0415
    from harness.run.story import Request  # noqa: PLC0415
    from harness.suite import load_suite  # noqa: PLC0415
    from harness.testbed.checks import preflight  # noqa: PLC0415
    from harness.topology.allocator import resolve  # noqa: PLC0415

    stored = read(find_run(run, results))
    manifest = stored.manifest
    if engine and engine != manifest.engine:
        raise UsageError(f"resume {manifest.run}: it was measured on {manifest.engine}, not on {engine}")
    suite = load_suite(manifest.suite["file"], manifest.suite["overrides"])
    laid_out = continued(stored, suite, append=append)
    check_same_place(stored, environment.collect())
    return Request(
        run=stored.folder.name,
        suite=suite,
        plan=laid_out,
        topology=resolve(suite.topology, laid_out.lanes),
        choice=preflight(manifest.engine),
        command=(PROGRAM, "run", "--resume", manifest.run, *(("--append", str(append)) if append else ())),
        results=stored.folder.parent,
        before=manifest,
        measured=stored.measured,
    )


def _share(text: str) -> float:
    """`5%` as 0.05."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*%", text.strip())
    if found is None or not 0 < float(found[1]) <= 100:
        raise UsageError(f"run --until-width: found {text!r}; a percentage was expected, as in 5%")
    return float(found[1]) / 100
