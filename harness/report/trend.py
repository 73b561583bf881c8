"""Runs over time, as text and as one HTML page: what stepped first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.analysis.measures import METRICS
from harness.analysis.steps import LEAST
from harness.analysis.text import quantity
from harness.analysis.trend import Series, Step, Trend
from harness.report import labels
from harness.report.figures import plotly_javascript
from harness.report.figures._figure import DARK
from harness.report.figures._trend import over_runs
from harness.report.html import asset, packed, policy, script, template
from harness.report.tables import Table

SCRIPT = ("plots.js", "tables.js", "page.js")
BARS = "▁▂▃▄▅▆▇█"
COLUMNS = ("configuration", "metric", "runs", "", "first level", "last level", "step", "since", "remark")


def table(found: Trend, *, every: bool = False) -> Table:
    """One row per step that matters, the latest first; every series where asked for."""
    shown = [*found.stepped, *(each for each in found.series if every and each not in found.stepped)]
    return Table(columns=COLUMNS, rows=tuple(_row(each) for each in shown))


def headline(found: Trend) -> str:
    """How many series, how many with a step, in one line."""
    if len(found.runs) < LEAST:
        return (
            f"{found.shelf}: {len(found.runs)} runs; a step can be told from noise with {LEAST} or more. "
            "`ambientbench baseline save RUN` keeps a run, `ambientbench trend RUN ...` adds stored ones."
        )
    stepped = len(found.stepped)
    return (
        f"{found.shelf}: {len(found.runs)} runs, {found.runs[0]} to {found.runs[-1]}; "
        f"{stepped or 'none'} of {len(found.series)} series with a step that matters."
    )


def text(found: Sequence[Trend], *, every: bool = False) -> str:
    """For a terminal."""
    blocks = []
    for trend in found:
        shown = table(trend, every=every)
        rows = [list(shown.columns), *map(list, shown.rows)] if shown.rows else []
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        body = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        blocks.append("\n".join([headline(trend), *body]))
    return "\n\n".join(blocks)


def html(found: Sequence[Trend]) -> str:
    """One self-contained page: a figure for each series of the default configuration and each with a step."""
    plotly, own = plotly_javascript(), script(SCRIPT)
    page: str = template("trend.html.j2").render(
        blocks=[
            {
                "trend": each,
                "headline": headline(each),
                "table": table(each, every=True),
                "figures": [
                    over_runs(series, name=f"trend-{number}-{at}") for at, series in enumerate(_drawn(each))
                ],
            }
            for number, each in enumerate(found)
        ],
        style=asset("style.css"),
        plotly=packed(plotly),
        script=own,
        policy=policy([plotly, own]),
        dark=DARK,
    )
    return page


def _drawn(found: Trend) -> Iterator[Series]:
    stepped = found.stepped
    yield from stepped
    for each in found.series:
        if each.side.configuration == found.default and each not in stepped:
            yield each


def sparkline(series: Series) -> str:
    """The runs' medians in eight heights."""
    values = [point.value.centre for point in series.points]
    low, span = min(values), max(values) - min(values)
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1)) if span else 0] for value in values)


def _row(series: Series) -> tuple[str, ...]:
    levels = series.levels
    last = series.steps[-1] if series.steps else None
    return (
        series.side.configuration,
        METRICS[series.side.metric].title,
        str(len(series.points)),
        sparkline(series),
        quantity(levels[0][2], series.unit),
        quantity(levels[-1][2], series.unit),
        _said(last) if last else "none",
        f"{last.run} ({last.before_commit[:8]}..{last.commit[:8]})" if last else "",
        last.machine if last else "",
    )


def _said(step: Step) -> str:
    word = "better" if step.better else "worse"
    sign = labels.SIGNS[word] if step.matters else "="
    return f"{sign} {(step.ratio - 1) * 100:+.1f} % {word if step.matters else 'within the threshold'}"
