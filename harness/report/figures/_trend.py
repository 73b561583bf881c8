"""One metric over runs: each run's median with its interval, and the levels between steps."""

from __future__ import annotations

import plotly.graph_objects as go

from harness.analysis.measures import METRICS
from harness.analysis.text import scale
from harness.analysis.trend import Point, Series
from harness.report.figures._figure import BLUE, GREY, ORANGE, Figure, plot


def over_runs(series: Series, *, name: str) -> Figure:
    """The series as a figure; runs in their order, not to the scale of time."""
    size, unit = scale(series.levels[-1][2], series.unit)
    title = METRICS[series.side.metric].title
    figure = plot(height=300, showlegend=True)
    figure.add_trace(_runs(series.points, size))
    for start, end, level in series.levels:
        figure.add_trace(
            go.Scatter(
                x=[start - 0.4, end - 1 + 0.4],
                y=[level / size] * 2,
                mode="lines",
                name="level",
                showlegend=start == 0,
                line={"color": ORANGE, "width": 2},
                hoverinfo="skip",
            )
        )
    for step in series.steps:
        figure.add_vline(x=step.at - 0.5, line={"color": GREY, "width": 1, "dash": "dot"})
    shown = range(0, len(series.points), max(1, len(series.points) // 8))
    figure.update_xaxes(
        title={"text": "run, oldest first"},
        tickvals=list(shown),
        ticktext=[series.points[at].started[:10] for at in shown],
    )
    figure.update_yaxes(title={"text": f"{title}, {unit}"}, rangemode="tozero")
    return Figure(
        name=name,
        section="trend",
        question=f"Has {_noun(title)} of {series.side.configuration} changed from run to run?",
        reading=_reading(series),
        caption=f"Median over each run's rounds, {unit}, with its exact interval; n = {len(series.points)} "
        "runs. A level is the median of its runs; where it changed and stayed changed is a dotted line.",
        plot=figure,
        columns=("run", "commit", f"median, {unit}", "low", "high", "rounds"),
        rows=tuple(_row(point, size) for point in series.points),
    )


def _runs(points: tuple[Point, ...], size: float) -> go.Scatter:
    values = [point.value.centre / size for point in points]
    arms = [
        (
            (point.value.high or point.value.centre) / size - value,
            value - (point.value.low or point.value.centre) / size,
        )
        for point, value in zip(points, values, strict=True)
    ]
    return go.Scatter(
        x=list(range(len(points))),
        y=values,
        mode="markers",
        name="run",
        marker={"color": BLUE, "symbol": "circle", "size": 8},
        error_y={
            "type": "data",
            "symmetric": False,
            "array": [up for up, _ in arms],
            "arrayminus": [down for _, down in arms],
            "color": BLUE,
            "thickness": 1.2,
            "width": 2,
        },
        text=[point.run for point in points],
        hovertemplate="%{text}: %{y:.4g}<extra></extra>",
    )


def _reading(series: Series) -> str:
    if not series.steps:
        return "No step: what differs from run to run is noise."
    return " ".join(
        f"At {step.run} it went {(step.ratio - 1) * 100:+.1f} % and stayed there"
        + (f"; {step.machine}." if step.machine else ".")
        for step in series.steps
    )


def _noun(title: str) -> str:
    return f"the {title}" if title.startswith(("first", "round", "bulk", "fixed")) else f"the {title} figure"


def _row(point: Point, size: float) -> tuple[str | float | int | None, ...]:
    low, high = (None if end is None else end / size for end in (point.value.low, point.value.high))
    return point.run, point.commit[:8], point.value.centre / size, low, high, point.value.rounds
