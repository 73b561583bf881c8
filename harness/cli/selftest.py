"""`selftest`: do to the bench what it has to find; hold its statistics against recorded noise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli._output import Json, emit, note, say, table
from harness.cli._trial import slowdown, trial
from harness.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from harness.analysis.calibration import Weather
    from harness.analysis.excerpt import Excerpt

NIGHTLY = "nightly"
SIMULATIONS = 1000
"""Of a real slowdown."""

EXAMPLE = "selftest --only proxy-frozen"


def command(
    runs: Annotated[
        list[str] | None,
        typer.Argument(help="Stored runs whose noise is resampled; by default every kept baseline."),
    ] = None,
    *,
    aa: Annotated[
        int, typer.Option("--aa", metavar="N", min=0, help="Simulate N comparisons of equal things.")
    ] = 0,
    power: Annotated[
        bool, typer.Option("--power", help="Simulate a 10 % slowdown, and how often it is found.")
    ] = False,
    slower: Annotated[
        bool, typer.Option("--slower", help="Slow the proxy down by 10 % for real: is it found?")
    ] = False,
    procedure: Annotated[
        bool, typer.Option("--procedure", help="Hold published ways of measuring against recorded noise.")
    ] = False,
    rounds: Annotated[
        int, typer.Option(min=0, help="Rounds of each; those of the nightly suite by default.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the simulation.")] = 1,
    results: Annotated[Path, typer.Option(help="Where runs and baselines are kept.")] = Path("results"),
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="NAME", help="This sabotage, not all of them.")
    ] = None,
    json: Json = False,
) -> int:
    """Sabotage real cells and list which check found each; with --aa or --power, calibrate the statistics.

    Calibrating asks how often a difference is claimed where there is none, and found where there is one.
    """
    if slower:
        from harness.suite import load_suite  # noqa: PLC0415  # pydantic is not for --help

        return slowdown(rounds or load_suite(NIGHTLY).rounds, json=json)
    if not aa and not power and not procedure:
        return trial(only or [], json=json)
    from harness.analysis import calibration  # noqa: PLC0415  # scipy is not for --help
    from harness.analysis.measures import METRICS  # noqa: PLC0415
    from harness.cli._excerpts import baseline_excerpts, run_excerpt  # noqa: PLC0415
    from harness.suite import load_suite  # noqa: PLC0415

    excerpts = [run_excerpt(run, results) for run in runs or ()] or baseline_excerpts(results)
    if not excerpts:
        raise UsageError(
            f"selftest: no run was named and {results}/baselines holds none; name a stored run, or keep one "
            "with `ambientbench baseline save RUN`"
        )
    nightly = rounds or load_suite(NIGHTLY).rounds
    weathers = {metric: calibration.weather(excerpts, metric) for metric in METRICS}
    if procedure:
        return _procedures(excerpts, weathers, seed, json=json)
    outcomes = []
    if aa:
        note(f"simulating {aa} comparisons of equal things, {nightly} rounds each")
        outcomes += calibration.equal_pairs(excerpts, weathers, count=aa, rounds=nightly, seed=seed)
    curve = []
    if power:
        found = weathers[calibration.METRIC]
        note(f"simulating {SIMULATIONS} slowdowns, {nightly} rounds each")
        outcomes.append(calibration.power(found, count=SIMULATIONS, rounds=nightly, seed=seed))
        curve = [
            (number, calibration.power(found, count=SIMULATIONS // 4, rounds=number, seed=seed).share)
            for number in calibration.CURVE
        ]
    good = all(each.good for each in outcomes)
    if json:
        emit(
            {
                "runs": [each.run for each in excerpts],
                "rounds": nightly,
                "outcomes": [each.document() for each in outcomes],
                "power_by_rounds": {str(number): share for number, share in curve},
                "good": good,
            }
        )
    else:
        say(f"noise of {', '.join(each.run for each in excerpts)}")
        say(
            table(
                ("", "what", "found", "share", "allowed", "of"),
                (
                    (
                        "✓" if each.good else "✗",
                        each.name,
                        f"{each.found} of {each.of}",
                        f"{each.share:.2%}",
                        f"{each.least:.1%} to {each.most:.1%}",
                        each.detail,
                    )
                    for each in outcomes
                ),
            )
        )
        if curve:
            say("power by rounds: " + ", ".join(f"{number}: {share:.0%}" for number, share in curve))
    return ExitCode.OK if good else ExitCode.RUN_FAILED


def _procedures(
    excerpts: Sequence[Excerpt], weathers: Mapping[str, Weather], seed: int, *, json: bool
) -> int:
    from harness.analysis.measures import METRICS  # noqa: PLC0415  # scipy is not for --help
    from harness.analysis.procedures import EFFECT, perform  # noqa: PLC0415

    told = ("first.cold", "first.warm", "steady", "requests", "transfer")
    found = perform({metric: weathers[metric] for metric in told}, seed=seed)
    if json:
        emit({"runs": [each.run for each in excerpts], "procedures": [each.document() for each in found]})
        return ExitCode.OK
    say("two equal configurations, compared over and over")
    say(
        table(
            (
                "metric",
                "procedure",
                f"called {EFFECT:.0%} apart, or different",
                "95 % of answers within",
                "needs",
            ),
            (
                (
                    METRICS[each.metric].title,
                    each.procedure,
                    f"{each.false:.1%}",
                    f"±{each.width:.1%}",
                    f"{each.needs:,} measurements a side",
                )
                for each in found
            ),
        )
    )
    return ExitCode.OK
