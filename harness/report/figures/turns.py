"""The turns themselves: lanes that take turns drift together, and the drift cancels in their ratio."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.analysis.judge import JudgedCell
from harness.report import labels
from harness.report.figures._figure import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Figure, Value, plot
from harness.results.read import Damaged

ORDER = 74
WINDOW = 25
"""Later packets whose median is one point: enough to see the drift, few enough to see it move."""
US = 1_000
LOOKS = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def figures(findings: Findings) -> list[Figure]:
    """Later packets of the default path's first bout, a line per lane; none where lanes had no turns."""
    cells = _bout(findings)
    if len(cells) < 2:
        return []
    figure, table = plot(height=380, showlegend=True), list[tuple[Value, ...]]()
    begun = min(cell.stored.record.started.monotonic_ns for cell in cells)
    for cell, colour, dash in zip(cells, LOOKS, DASHES, strict=False):
        times, medians = _later(cell)
        where = cell.stored.record.cell
        twin = ", twin" if cell.configuration.twin else ""
        name = f"lane {where.lane}: {labels.configuration(cell.configuration)}{twin}"
        seconds = (times - begun) / 1e9
        figure.add_trace(
            go.Scatter(
                x=seconds.round(4).tolist(),
                y=(medians / US).round(2).tolist(),
                name=name,
                mode="lines",
                line={"color": colour, "width": 1.8, "dash": dash},
            )
        )
        if len(medians):
            table.append(
                (name, len(medians), float(np.median(medians)) / US, *(medians[[0, -1]] / US).tolist())
            )
    figure.update_xaxes(title={"text": "seconds since the bout began"})
    figure.update_yaxes(title={"text": f"later packets, us (median of {WINDOW})"})
    return [
        Figure(
            name="turns",
            section="validity",
            question="What do turns do?",
            reading="All lanes are measured at the same time, a connection or a request at a time. What the "
            "machine does to one it does to all, so that it is in no ratio.",
            caption=f"Round {cells[0].occasion[0]}, {cells[0].configuration.path.value}: running median of "
            f"{WINDOW} later packets of the probed connections; n = {len(cells)} lanes.",
            plot=figure,
            columns=("lane", "points", "median, us", "first, us", "last, us"),
            rows=tuple(table),
        )
    ]


def _bout(findings: Findings) -> list[JudgedCell]:
    """The cells of the first usable bout in which the default configuration stands."""
    for first in findings.cells:
        if first.usable and first.configuration == findings.default:
            return [cell for cell in findings.cells if cell.usable and cell.occasion == first.occasion]
    return []


def _later(cell: JudgedCell) -> tuple[np.ndarray, np.ndarray]:
    """When each window of later packets ended, and its median, nanoseconds."""
    try:
        rows = cell.stored.samples("probe")
    except (Damaged, KeyError):
        return np.empty(0), np.empty(0)
    later = rows[(rows["sequence"] > 0) & rows["ok"]].sort_values("start_ns")
    took = (later["first_byte_ns"] - later["start_ns"]).rolling(WINDOW).median().dropna()
    return later.loc[took.index, "start_ns"].to_numpy(), took.to_numpy()
