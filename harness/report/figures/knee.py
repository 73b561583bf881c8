"""Latency against the rate that was asked for, step by step, and where it leaves its limit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.plan.model import Configuration
from harness.report import labels
from harness.report.figures._figure import GREY, LEVELS, PATHS, Figure, Value, log_ticks, plot

ORDER = 61


def figures(findings: Findings) -> list[Figure]:
    """One line per configuration; every step of every round is a mark."""
    limit_ms = float(findings.run.plan.load.scenario("knee").get("p99_ms", 0))
    table, figure = list[tuple[Value, ...]](), plot(height=420)
    for configuration in labels.ordered(findings.configurations):
        steps = sorted(_steps(findings, configuration), key=lambda step: step["rate_hz"])
        if not steps:
            continue
        name = f"{configuration.path.value}, {labels.configuration(configuration)}"
        colour, symbol = LEVELS[configuration.interception]
        figure.add_trace(
            go.Scatter(
                x=[step["rate_hz"] for step in steps],
                y=[step["p99_ns"] / 1e6 for step in steps],
                name=name,
                mode="lines+markers",
                line={"color": colour, "width": 1, "dash": PATHS[configuration.path][2]},
                marker={
                    "color": colour,
                    "size": 9,
                    "symbol": [symbol if step["within"] else f"{symbol}-open" for step in steps],
                },
                hovertemplate="%{x:,.0f} req/s: p99 %{y:.3g} ms<extra></extra>",
            )
        )
        table += [
            (
                configuration.path.value,
                labels.configuration(configuration),
                step["round"],
                step["rate_hz"],
                step["scheduled"],
                step["answered"],
                step["p99_ns"] / 1e6,
                "held" if step["within"] else "missed",
            )
            for step in steps
        ]
    if not table:
        return []
    rates, tails = [float(row[3] or 0) for row in table], [float(row[6] or 0) for row in table]
    figure.add_trace(
        go.Scatter(
            x=[min(rates), max(rates)],
            y=[limit_ms, limit_ms],
            name="limit",
            mode="lines",
            line={"color": GREY, "width": 2},
            hoverinfo="skip",
        )
    )
    figure.update_xaxes(type="log", title={"text": "requests/s asked for"}, **log_ticks(rates))
    figure.update_yaxes(type="log", title={"text": "p99, ms"}, **log_ticks([*tails, limit_ms]))
    return [
        Figure(
            name="knee",
            section="throughput",
            question="Up to which rate does latency hold its limit?",
            reading="Each mark is a step of the search; a filled one held: its p99 stayed below the limit, "
            "at least 99 % of its rate was kept and nothing failed. The knee is the last filled mark before "
            "the first hollow one.",
            caption=f"p99 from the intended start in ms against requests/s, both logarithmic; limit "
            f"{limit_ms:g} ms; Poisson arrivals, at least 1,000 requests a step; n = {len(table)} steps.",
            plot=figure,
            columns=(
                "path",
                "configuration",
                "round",
                "rate, req/s",
                "due",
                "answered",
                "p99, ms",
                "ended",
            ),
            rows=tuple(table),
        )
    ]


def _steps(findings: Findings, configuration: Configuration) -> Iterator[dict[str, Any]]:
    for cell in findings.cells:
        if cell.usable and cell.configuration == configuration:
            stage = cell.case.documents["answers"]["stages"].get("knee", {})
            for step in stage.get("steps", []):
                yield {**step, "round": cell.stored.record.cell.round}
