"""Each round beside the others: was the machine the same throughout?"""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.plan.model import Path
from harness.report.figures._figure import PATHS, Figure, plot

ORDER = 80


def figures(findings: Findings) -> list[Figure]:
    """Per path and round: later packets against the whole run's median, median over configurations."""
    table = []
    figure = plot(height=320)
    for path, (colour, symbol, dash) in PATHS.items():
        points = _points(findings, path)
        if not points:
            continue
        figure.add_trace(
            go.Scatter(
                x=list(points),
                y=[percent for percent, _ in points.values()],
                name=path.value,
                mode="lines+markers",
                line={"color": colour, "width": 2, "dash": dash},
                marker={"color": colour, "symbol": symbol, "size": 9},
            )
        )
        table += [(path.value, number, percent, count) for number, (percent, count) in points.items()]
    if not table:
        return []
    figure.update_xaxes(title={"text": "round"}, dtick=1)
    figure.update_yaxes(title={"text": "against the run's median, %"}, zeroline=True)
    return [
        Figure(
            name="rounds",
            section="validity",
            question="Was the machine the same from round to round?",
            reading="A flat line is a steady machine. Ups and downs that all paths share are the "
            "round's weather, "
            "which paired ratios cancel.",
            caption="Later packets' median in each round against that configuration's median over all "
            "rounds, per cent; "
            f"median over the path's configurations, n = up to {max(row[3] for row in table)} of them.",
            plot=figure,
            columns=("path", "round", "against the run's median, %", "configurations"),
            rows=tuple(table),
        )
    ]


def _points(findings: Findings, path: Path) -> dict[int, tuple[float, int]]:
    relative: dict[int, list[float]] = {}
    for configuration in findings.configurations:
        measure = findings.measure(configuration, "steady") if configuration.path is path else None
        if measure is None or measure.estimate is None:
            continue
        for number, value in measure.per_round.items():
            relative.setdefault(number, []).append((value / measure.estimate.centre - 1) * 100)
    return {number: (float(np.median(values)), len(values)) for number, values in sorted(relative.items())}
