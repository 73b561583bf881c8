"""`baseline`: keep runs to compare later ones with."""

from __future__ import annotations

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from harness.cli._output import Json, emit, say, table
from harness.errors import UsageError


class Action(StrEnum):
    """What to do with baselines."""

    SAVE = "save"
    SHOW = "show"
    PROMOTE = "promote"


EXAMPLE = "baseline save latest"


def command(
    action: Annotated[
        Action, typer.Argument(help="Keep a run, list what is kept, or make a run the reference.")
    ],
    run: Annotated[str, typer.Argument(help="A stored run, for save and promote.")] = "latest",
    *,
    results: Annotated[Path, typer.Option(help="Where runs and baselines are kept.")] = Path("results"),
    json: Json = False,
) -> None:
    """Keep excerpts of runs, rolling, one shelf per environment and suite; `compare --baseline` reads them.

    The reference of a shelf is the promoted run, else the latest one that was saved.
    """
    if action is Action.SHOW:
        _show(results, as_json=json)
        return
    from harness.cli._excerpts import run_excerpt  # noqa: PLC0415  # scipy is not for --help
    from harness.results import baselines  # noqa: PLC0415

    found = run_excerpt(run, results)
    if not found.complete:
        raise UsageError(
            f"baseline {action}: {found.run} is not complete; "
            f"finish it with `ambientbench run --resume {found.run}`"
        )
    keep = baselines.save if action is Action.SAVE else baselines.promote
    path = keep(results, found.shelf, found.document())
    if json:
        emit({"run": found.run, "shelf": found.shelf, "file": str(path)})
    else:
        say(f"{found.run} is kept in {path}")


def _show(results: Path, *, as_json: bool) -> None:
    from harness.cli._excerpts import baseline_excerpts  # noqa: PLC0415  # scipy is not for --help
    from harness.results import baselines  # noqa: PLC0415  # duckdb is not for --help

    rows: list[dict[str, Any]] = []
    excerpts = baseline_excerpts(results)
    latest = {kept.shelf: kept.run for kept in excerpts}
    references = {
        shelf: (baselines.promoted(results, shelf) or {}).get("run", run) for shelf, run in latest.items()
    }
    for kept in excerpts:
        fingerprint = asdict(kept.fingerprint)
        rows.append(
            {
                "shelf": kept.shelf,
                "run": kept.run,
                "started": kept.started[:19],
                "reference": kept.run == references[kept.shelf],
                **{name: fingerprint[name] for name in ("engine", "kernel", "machine", "applier")},
            }
        )
    if as_json:
        emit(rows)
        return
    header = ("shelf", "run", "started", "reference", "engine", "kernel", "machine", "applier")
    shown = [
        ["*" if row[name] is True else "" if row[name] is False else str(row[name]) for name in header]
        for row in rows
    ]
    say(table(header, shown) if rows else f"no baselines in {results}/baselines")
