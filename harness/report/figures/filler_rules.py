"""Latency over the number of rules, and where conntrack breaks even."""

from __future__ import annotations

from dataclasses import replace

import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.plan.model import Interception
from harness.report import labels
from harness.report.figures._figure import LEVELS, Figure, plot

ORDER = 45
MS = 1e-3


def figures(findings: Findings) -> list[Figure]:
    """Later packets over filler rules, a line per level; none where rules were not varied."""
    crossing = findings.break_even
    if crossing is None:
        return []
    varied = {replace(each, filler_rules=0) for each in findings.configurations if each.filler_rules}
    table = []
    figure = plot(height=360)
    for level in (each for each in Interception if each is not Interception.NONE):
        points = []
        for each in sorted(findings.configurations, key=lambda each: each.filler_rules):
            if replace(each, filler_rules=0) not in varied or each.interception is not level:
                continue
            measure = findings.measure(each, "steady")
            if measure is not None and measure.shown is not None:
                points.append((each.filler_rules, measure.shown))
        if not points:
            continue
        colour, symbol = LEVELS[level]
        figure.add_trace(
            go.Scatter(
                x=[count for count, _ in points],
                y=[found.centre / MS for _, found in points],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [((found.high or found.centre) - found.centre) / MS for _, found in points],
                    "arrayminus": [(found.centre - (found.low or found.centre)) / MS for _, found in points],
                    "color": colour,
                },
                name=labels.LEVELS[level],
                mode="lines+markers",
                line={"color": colour, "width": 2},
                marker={"color": colour, "symbol": symbol, "size": 9},
            )
        )
        table += [
            (
                labels.LEVELS[level],
                count,
                found.centre / MS,
                found.low and found.low / MS,
                found.high and found.high / MS,
            )
            for count, found in points
        ]
    figure.update_xaxes(title={"text": "rules that match nothing, before ours"})
    figure.update_yaxes(title={"text": "later packets, ms"}, rangemode="tozero")
    return [
        Figure(
            name="filler-rules",
            section="factors",
            question="From how many rules on does conntrack pay?",
            reading=crossing.sentence,
            caption=f"Later packets' time to first byte on {crossing.path}, milliseconds. With "
            "redirect the rules "
            "stand in nat and are walked once per connection, with tproxy in mangle, by every packet. "
            f"Median over n = {findings.run.plan.rounds} rounds; bars are exact intervals.",
            plot=figure,
            columns=("interception", "filler rules", "later, ms", "low, ms", "high, ms"),
            rows=tuple(table),
        )
    ]
