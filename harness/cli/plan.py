"""`plan`: print what a run would do, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli._output import Json, emit, note, say, table

if TYPE_CHECKING:
    from harness.plan.model import Plan
    from harness.suite import Suite

EXAMPLE = "plan quick -s rounds=20"


def command(
    suite: Annotated[str, typer.Argument(help="A suite's name in suites/, or a file.")] = "quick",
    *,
    override: Annotated[
        list[str] | None, typer.Option("-s", metavar="KEY=VALUE", help="Override one key of the suite.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Order of the cells; the suite's or a new one by default.")
    ] = None,
    results: Annotated[
        Path, typer.Option(help="Where runs are kept: the latest one's costs predict.")
    ] = Path("results"),
    json: Json = False,
) -> None:
    """Print the cells in their order and the predicted time; nothing is started."""
    from harness.plan.document import to_document  # noqa: PLC0415  # not for --help
    from harness.plan.order import plan  # noqa: PLC0415
    from harness.plan.predict import Costs  # noqa: PLC0415
    from harness.results.costs import latest_costs  # noqa: PLC0415
    from harness.suite import load_suite  # noqa: PLC0415

    loaded = load_suite(suite, override or [])
    measured = latest_costs(results)
    laid_out = plan(loaded, seed=seed, costs=measured.costs if measured else Costs())
    for line in loaded.notes:
        note(f"note: {line}")
    if json:
        emit(to_document(laid_out) | {"predicted_from": measured.run if measured else None})
        return
    say(
        table(
            ("cell", "round", "bout", "lane", "configuration"),
            (
                (str(cell.index), str(cell.round), str(cell.bout), str(cell.lane), cell.configuration.key)
                for cell in laid_out.cells
            ),
        )
    )
    minutes, seconds = divmod(round(laid_out.predicted_s), 60)
    source = (
        f"costs measured in {measured.run}" if measured else "default costs: no run here has measured any"
    )
    say()
    say(
        f"{len(laid_out.cells)} cells, {len(loaded.configurations)} configurations in "
        f"{len(laid_out.bouts)} bouts of at most {laid_out.lanes} lanes, {_rounds(loaded, laid_out)}, "
        f"seed {laid_out.seed}: {minutes} min {seconds} s ({source})"
    )


def _rounds(suite: Suite, laid_out: Plan) -> str:
    """How many rounds there are, and after which a run may be over."""
    from harness.plan.order import looks  # noqa: PLC0415  # not for --help

    earlier = looks(suite.rounds, laid_out.rounds)[:-1]
    if not earlier:
        return f"{laid_out.rounds} rounds"
    return f"at most {laid_out.rounds} rounds (it may be enough after {', '.join(map(str, earlier))})"
