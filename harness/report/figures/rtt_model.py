"""Latency over the distance between the nodes: the slope is the number of round trips."""

from __future__ import annotations

from collections.abc import Iterator

import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.analysis.measures import METRICS
from harness.analysis.rtt_model import RttModel, Slope
from harness.plan.model import State
from harness.report import labels
from harness.report.figures._figure import LEVELS, Figure, Value, plot

ORDER = 12
MS = 1e-3
DASHES = {State.COLD: "solid", State.WARM: "dash", State.NEW: "dot", State.STEADY: "dashdot"}


def figures(findings: Findings) -> list[Figure]:
    """Every state's line, and the delay line by itself; none where distance was not varied."""
    model = findings.rtt_model
    if model is None:
        return []
    return [_lines(findings, model), _own(model)]


def _lines(findings: Findings, model: RttModel) -> Figure:
    figure = plot(height=460)
    figure.add_traces([_trace(slope) for slope in model.slopes if slope.points])
    figure.update_xaxes(title={"text": "round trip between the nodes, ms"}, rangemode="tozero")
    figure.update_yaxes(title={"text": "time to first byte, ms"}, rangemode="tozero")
    answer = next(each for each in findings.answer if "round trips" in each.question)
    return Figure(
        name="rtt-model",
        section="first-packet",
        question="How many round trips does the first packet take?",
        reading=f"{answer.sentence} Parallel lines wait for the same trips; what they differ in at no "
        "distance is computing.",
        caption="Median time to first byte, milliseconds, over the measured round trip of the delay line. "
        "A slope is the median of the rounds' lines (Theil and Sen's, through at least 3 distances each), "
        f"n = {findings.run.plan.rounds} rounds, with its exact interval; a number of trips is claimed only "
        "where the interval holds no neighbouring integer.",
        plot=figure,
        columns=(
            "path",
            "configuration",
            "packet",
            "round trips expected",
            "found",
            "slope",
            "low",
            "high",
            "rounds",
            "at no distance, ms",
            "verdict",
        ),
        rows=tuple(_rows(model)),
    )


def _trace(slope: Slope) -> go.Scatter:
    state = labels.METRIC_STATES[slope.metric]
    colour, symbol = LEVELS[slope.configuration.interception]
    path, level = slope.configuration.path.value, labels.configuration(slope.configuration)
    return go.Scatter(
        x=[rtt_s / MS for rtt_s in slope.points],
        y=[latency_s / MS for latency_s in slope.points.values()],
        name=f"{path}, {level}, {labels.STATES[state]}",
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": DASHES[state]},
        marker={"color": colour, "symbol": symbol, "size": 8},
    )


def _rows(model: RttModel) -> Iterator[tuple[Value, ...]]:
    for each in model.slopes:
        trips = each.trips
        yield (
            each.configuration.path.value,
            labels.configuration(each.configuration),
            METRICS[each.metric].title,
            each.expected,
            each.found,
            trips.median if trips else None,
            trips.low if trips else None,
            trips.high if trips else None,
            trips.rounds if trips else 0,
            None if each.intercept_s is None else each.intercept_s / MS,
            each.verdict,
        )


def _own(model: RttModel) -> Figure:
    """The measure of the measure."""
    line = model.line
    figure = plot(height=320)
    for way in dict.fromkeys(leg.way for leg in line.legs):
        legs = [leg for leg in line.legs if leg.way == way]
        figure.add_trace(
            go.Scatter(
                x=[leg.rtt_ms for leg in legs],
                y=[leg.median_s / MS - leg.rtt_ms for leg in legs],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [(leg.p90_s - leg.median_s) / MS for leg in legs],
                    "arrayminus": [(leg.median_s - leg.p10_s) / MS for leg in legs],
                },
                name=way,
                mode="markers",
                marker={"size": 9},
            )
        )
    figure.update_xaxes(title={"text": "round trip asked for, ms"})
    figure.update_yaxes(title={"text": "measured beyond that, ms"}, rangemode="tozero")
    kinds = ", ".join(dict.fromkeys(leg.kind for leg in line.legs if leg.rtt_ms))
    return Figure(
        name="rtt-line",
        section="evidence",
        question="How exact is the distance between the nodes?",
        reading=f"A round trip over the delay line takes {line.own_s / MS:.2f} ms by itself and "
        f"{line.factor:.3f} of what is asked for; the line misses the medians by {line.error_s / MS:.2f} ms "
        "on average.",
        caption=f"ARP round trips over the line ({kinds}), alone before the first cell and around every "
        "cell's load; 0 is the kernel's own way. "
        f"Median of n = {min(leg.n for leg in line.legs)} trips, bars from the 10th to the 90th "
        "percentile.",
        plot=figure,
        columns=("way", "delayed by", "asked, ms", "trips", "median, ms", "p10, ms", "p90, ms"),
        rows=tuple(
            (leg.way, leg.kind, leg.rtt_ms, leg.n, leg.median_s / MS, leg.p10_s / MS, leg.p90_s / MS)
            for leg in line.legs
        ),
    )
