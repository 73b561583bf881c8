"""What a figure is, and the looks that all figures share."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from typing import Any

import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from harness.plan.model import Interception, Path, State

Value = float | int | str | None

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0067a5", "#b35c00", "#00795c", "#c1272d", "#8a4f9e", "#6b7280"
DARK = {
    BLUE: "#62b3ee",
    ORANGE: "#f0a64a",
    GREEN: "#3fc7a0",
    RED: "#ff7b72",
    PURPLE: "#d2a8e6",
    GREY: "#9aa4b2",
}
"""Colour on light -> on dark. Hues of Okabe and Ito (2008), told apart without red-green vision; each has
at least 4.5:1 against its background, and every series has a marker or dash of its own besides."""

STATES: dict[State, tuple[str, str]] = {
    State.COLD: (RED, "diamond"),
    State.WARM: (BLUE, "circle"),
    State.NEW: (PURPLE, "square"),
    State.STEADY: (GREEN, "triangle-up"),
}
LEVELS: dict[Interception, tuple[str, str]] = {
    Interception.NONE: (GREY, "x"),
    Interception.REDIRECT: (BLUE, "circle"),
    Interception.TPROXY: (ORANGE, "diamond"),
    Interception.TPROXY_NOTRACK: (GREEN, "square"),
}
PATHS: dict[Path, tuple[str, str, str]] = {
    Path.SAME_NODE: (BLUE, "circle", "solid"),
    Path.CROSS_NODE: (ORANGE, "diamond", "dash"),
    Path.OUT_OF_MESH: (GREEN, "square", "dot"),
    Path.INTO_MESH: (PURPLE, "triangle-up", "dashdot"),
    Path.SERVICE: (RED, "cross", "longdash"),
}
ROW_PX = 27
"""Height of a row of a dot plot: room for one line of a label."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure with everything that is said about it."""

    name: str
    """Its anchor in the page."""
    section: str
    """The page's section that it stands in."""
    question: str
    """Its title."""
    reading: str
    """What can be seen, in a plain sentence."""
    caption: str
    """Units, n, what a bar or band is."""
    plot: go.Figure
    columns: tuple[str, ...]
    rows: tuple[tuple[Value, ...], ...] = field(default=())
    """The table twin."""

    def drawing(self) -> dict[str, Any]:
        """Data and layout as plotly.js takes them."""
        drawing: dict[str, Any] = json.loads(self.plot.to_json())
        drawing["layout"].pop("template", None)
        return drawing


def plot(height: int, **layout: Any) -> go.Figure:
    """An empty plot in the report's looks; colours of text and grid are the page's."""
    figure = go.Figure()
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 12, "t": 40, "b": 48},
        legend={"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "xanchor": "left"},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hovermode="closest",
        dragmode=False,
        **layout,
    )
    figure.update_xaxes(automargin=True, zeroline=False, fixedrange=True)
    figure.update_yaxes(automargin=True, zeroline=False, fixedrange=True)
    return figure


def log_ticks(values: list[float]) -> dict[str, Any]:
    """Ticks of a logarithmic axis, written out: 1, 2, 5 of each decade, or even steps where it is short."""
    positive = [value for value in values if value > 0]
    if not positive:
        return {}
    low, high = min(positive) * 0.85, max(positive) * 1.15
    ticks = [tick for tick in _decades((1, 2, 5)) if low <= tick <= high]
    if len(ticks) > 8:
        ticks = [tick for tick in _decades((1,)) if low <= tick <= high]
    if len(ticks) < 4:
        low, high = min(positive), max(positive)
        step = next((each for each in _decades((1, 2, 5)) if (high - low) / each <= 7), high)
        ticks = [step * count for count in range(math.floor(low / step), math.ceil(high / step) + 1) if count]
    return {"tickvals": ticks, "ticktext": [f"{tick:,.6g}" for tick in ticks]}


def _decades(mantissas: tuple[int, ...]) -> list[float]:
    return [mantissa * 10.0**exponent for exponent in range(-6, 12) for mantissa in mantissas]


def plotly_javascript() -> str:
    """plotly.js, whole; inlined once per page."""
    script: str = get_plotlyjs()
    return script
