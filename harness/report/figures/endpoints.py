"""How a service's new connections spread over its endpoints."""

from __future__ import annotations

from collections import Counter

import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.report import labels
from harness.report.figures._figure import BLUE, GREEN, ORANGE, PURPLE, RED, Figure, Value, plot

ORDER = 62
STAGE = "endpoints"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, RED)


def figures(findings: Findings) -> list[Figure]:
    """A bar per configuration, in as many parts as endpoints answered; none where only one could."""
    counted: dict[str, Counter[str]] = {}
    for cell in findings.cells:
        stage = cell.case.documents.get("answers", {}).get("stages", {}).get(STAGE)
        if cell.usable and stage:
            name = f"{cell.configuration.path.value}, {labels.configuration(cell.configuration)}"
            for origin, count in stage["answers"].items():
                counted.setdefault(name, Counter())[origin.rpartition("/")[0]] += count
    counted = {name: counts for name, counts in counted.items() if len(counts) > 1}
    if not counted:
        return []
    endpoints = sorted({endpoint for counts in counted.values() for endpoint in counts})
    totals = {name: counts.total() for name, counts in counted.items()}
    figure = plot(height=140 + 40 * len(counted), barmode="stack")
    for position, endpoint in enumerate(endpoints):
        figure.add_trace(
            go.Bar(
                y=list(counted),
                x=[counts[endpoint] * 100 / totals[name] for name, counts in counted.items()],
                name=endpoint,
                orientation="h",
                marker={"color": COLOURS[position % len(COLOURS)]},
                hovertemplate="%{x:.1f} %<extra>" + endpoint + "</extra>",
            )
        )
    figure.update_xaxes(title={"text": "% of answers"}, range=[0, 100])
    rows: list[tuple[Value, ...]] = [
        (name, endpoint, counts[endpoint], counts[endpoint] * 100 / totals[name])
        for name, counts in counted.items()
        for endpoint in endpoints
    ]
    return [
        Figure(
            name="endpoints",
            section="throughput",
            question="How do new connections spread over a service's endpoints?",
            reading="Each answer names the pod that gave it. The proxy draws an endpoint for every "
            "connection, so parts of the same length are what chance gives.",
            caption=f"Share of answers per endpoint (pod/node); n = {sum(totals.values()):,} answers, one "
            "per connection.",
            plot=figure,
            columns=("configuration", "endpoint", "answers", "% of answers"),
            rows=tuple(rows),
        )
    ]
