"""Rows of dots: configurations grouped by path, a marker with its interval for each series."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import plotly.graph_objects as go

from harness.analysis.statistics import Estimate
from harness.report.figures._figure import ROW_PX, log_ticks, plot


@dataclass(slots=True)
class Rows:
    """The rows of a dot plot, from the top: headings and what stands under them."""

    labels: list[str] = field(default_factory=list)

    def heading(self, text: str) -> None:
        """A row that only names a group."""
        self.labels.append(f"<b>{text}</b>")

    def row(self, text: str) -> int:
        """A row for dots.

        Returns:
            Its position, for the dots.
        """
        self.labels.append(text)
        return len(self.labels) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One value at one row."""

    row: int
    estimate: Estimate
    scale: float = 1.0
    """Divides the values into the axis' unit."""
    note: str = ""
    """Shown when pointed at, after the value."""

    @property
    def value(self) -> float:
        """The median in the axis' unit."""
        return self.estimate.centre / self.scale


def series(dots: Sequence[Dot], *, name: str, colour: str, symbol: str, hollow: bool = False) -> go.Scatter:
    """One series of dots with their intervals."""
    bars = {
        "type": "data",
        "symmetric": False,
        "array": [_arm(dot.estimate.high, dot) for dot in dots],
        "arrayminus": [_arm(dot.estimate.low, dot) for dot in dots],
        "thickness": 1.5,
        "width": 3,
        "color": colour,
        "visible": any(dot.estimate.has_interval for dot in dots),
    }
    return go.Scatter(
        x=[dot.value for dot in dots],
        y=[dot.row for dot in dots],
        name=name,
        mode="markers",
        marker={
            "color": colour,
            "symbol": f"{symbol}-open" if hollow else symbol,
            "size": 10,
            "line": {"width": 1.5, "color": colour},
        },
        error_x=bars,
        customdata=[dot.note for dot in dots],
        hovertemplate=f"%{{x:.4g}}%{{customdata}}<extra>{name}</extra>",
    )


def dot_plot(rows: Rows, traces: Sequence[go.Scatter], *, x_title: str, log: bool = True) -> go.Figure:
    """The rows with all series, first row on top."""
    figure = plot(height=96 + ROW_PX * len(rows.labels), showlegend=len(traces) > 1)
    figure.add_traces(list(traces))
    figure.update_yaxes(
        tickvals=list(range(len(rows.labels))),
        ticktext=rows.labels,
        range=[len(rows.labels) - 0.4, -0.6],
        showgrid=True,
        title={"text": ""},
    )
    values = [float(value) for trace in traces for value in trace.x]
    axis = {"type": "log", **log_ticks(values)} if log else {"rangemode": "tozero"}
    figure.update_xaxes(title={"text": x_title}, **axis)
    return figure


def _arm(end: float | None, dot: Dot) -> float:
    return 0.0 if end is None else abs(end - dot.estimate.centre) / dot.scale
