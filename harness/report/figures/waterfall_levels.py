"""What the first packet pays with each way of capture and of reuse, side by side."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.analysis.text import quantity
from harness.analysis.waterfall import Waterfall
from harness.plan.model import Path
from harness.report import labels
from harness.report.figures._figure import Figure, plot
from harness.report.figures._phases import COLUMNS, counts, name, of_path, pieces, rows, traces

ORDER = 13
BAR_PX = 40


def figures(findings: Findings) -> list[Figure]:
    """One per path on which there is something to hold against each other."""
    return [figure for path in labels.PATH_ORDER for figure in _path(findings, path)]


def _path(findings: Findings, path: Path) -> list[Figure]:
    here = [each for each in of_path(findings, path) if each.configuration.rtt_ms == findings.default.rtt_ms]
    shown = [each for each in here if not each.why_not]
    if len({each.configuration for each in shown if each.configuration.dataplane != "none"}) < 2:
        return []
    least, most = (pick(shown, key=lambda each: each.total_s) for pick in (min, max))
    return [
        Figure(
            name=f"waterfall-levels-{path.value}",
            section="first-packet",
            question=f"Who is paid more or less where capture or reuse differ, on the path {path.value}?",
            reading="Each bar is a first packet from connect() on, its pieces in the order in which they "
            "happen; "
            f"they go from {quantity(least.total_s, 's')} ({name(least)}) to {quantity(most.total_s, 's')} "
            f"({name(most)}). Pieces that grow where a factor changes are what that factor costs.",
            caption="Milliseconds; means over the samples between the quartiles of each bar, in no order of "
            f"comparison: verdicts are under Factors. {counts(shown)}.",
            plot=_bars(shown),
            columns=COLUMNS,
            rows=tuple(row for each in shown for row in rows(each)),
        )
    ]


def _bars(shown: Sequence[Waterfall]) -> go.Figure:
    figure = plot(height=110 + BAR_PX * len(shown), barmode="overlay")
    drawn = [piece for row, each in enumerate(shown) for piece in pieces(each, row)]
    figure.add_traces(traces(drawn, width=0.8))
    figure.update_yaxes(
        tickvals=list(range(len(shown))),
        ticktext=[name(each) for each in shown],
        range=[len(shown) - 0.4, -0.6],
        title={"text": ""},
    )
    figure.update_xaxes(title={"text": "since connect(), ms"}, rangemode="tozero")
    return figure
