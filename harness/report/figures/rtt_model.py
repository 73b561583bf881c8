"""Round trips, found by moving the nodes apart: the slopes, the lines behind them, the distance itself."""

from __future__ import annotations

import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.analysis.rtt_model import Line, RttModel, Slope
from harness.plan.model import Path, State
from harness.report import labels
from harness.report.figures._dots import Dot, Rows, dot_plot, series
from harness.report.figures._figure import BLUE, GREEN, LEVELS, ORANGE, STATES, Figure, plot

ORDER = 14
MS = 1e-3
DASHES = {State.COLD: "solid", State.WARM: "dash", State.NEW: "dot", State.STEADY: "dashdot"}
WAYS = ((BLUE, "circle"), (ORANGE, "diamond"), (GREEN, "square"))


def figures(findings: Findings) -> list[Figure]:
    """None where distance was not varied."""
    model = findings.rtt_model
    if model is None:
        return []
    return [
        *_trips(findings, model),
        *(figure for path in labels.PATH_ORDER for figure in _lines(findings, model, path)),
        _own(model.line),
    ]


def _trips(findings: Findings, model: RttModel) -> list[Figure]:
    """Every slope with its interval."""
    rows, table = Rows(), []
    dots: dict[State, list[Dot]] = {}
    for path in labels.PATH_ORDER:
        group = [each for each in model.slopes if each.configuration.path is path and each.trips]
        if group:
            rows.heading(path.value)
        for configuration in dict.fromkeys(each.configuration for each in group):
            at = rows.row(labels.configuration(configuration))
            for each in (slope for slope in group if slope.configuration == configuration):
                if each.trips is None:
                    continue
                state = labels.METRIC_STATES[each.metric]
                dots.setdefault(state, []).append(Dot(row=at, estimate=each.trips, note=" round trips"))
                table.append(
                    (
                        path.value,
                        labels.configuration(configuration),
                        labels.STATES[state],
                        each.expected,
                        each.found,
                        each.trips.centre,
                        each.trips.low,
                        each.trips.high,
                        each.trips.rounds,
                        None if each.intercept_s is None else each.intercept_s / MS,
                        each.verdict,
                    )
                )
    if not table:
        return []
    traces = [
        series(dots[state], name=labels.STATES[state], colour=colour, symbol=symbol)
        for state, (colour, symbol) in STATES.items()
        if state in dots
    ]
    drawn = dot_plot(rows, traces, x_title="round trips between the nodes", log=False)
    drawn.update_xaxes(dtick=1)
    return [
        Figure(
            name="rtt-model",
            section="first-packet",
            question="How many round trips does the first packet take?",
            reading=next(each for each in findings.answer if "round trips" in each.question).sentence,
            caption="Slope of the time to first byte over the measured distance. Median over rounds of each "
            "round's line (Theil and Sen's, through at least 3 distances), "
            f"n = {findings.run.plan.rounds} rounds, with its exact interval. A number of trips is claimed "
            "only where the interval holds no neighbouring integer.",
            plot=drawn,
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
            rows=tuple(table),
        )
    ]


def _lines(findings: Findings, model: RttModel, path: Path) -> list[Figure]:
    """A path's latencies over distance."""
    slopes = [each for each in model.slopes if each.configuration.path is path and each.points]
    if not slopes:
        return []
    figure = plot(height=420)
    figure.add_traces([_line(slope) for slope in slopes])
    figure.update_xaxes(title={"text": "round trip between the nodes, ms"}, rangemode="tozero")
    figure.update_yaxes(title={"text": "time to first byte, ms"}, rangemode="tozero")
    return [
        Figure(
            name=f"rtt-lines-{path.value}",
            section="first-packet",
            question=f"What does distance add to a packet on {path.value}?",
            reading="Parallel lines wait for the same round trips; what they differ in at no distance is "
            "computing.",
            caption="Milliseconds, over the round trip of the delay line as it was measured. Median over "
            f"n = {findings.run.plan.rounds} rounds of each cell's median.",
            plot=figure,
            columns=("configuration", "packet", "distance, ms", "to first byte, ms"),
            rows=tuple(
                (
                    labels.configuration(each.configuration),
                    labels.STATES[labels.METRIC_STATES[each.metric]],
                    rtt_s / MS,
                    latency_s / MS,
                )
                for each in slopes
                for rtt_s, latency_s in each.points.items()
            ),
        )
    ]


def _line(slope: Slope) -> go.Scatter:
    state = labels.METRIC_STATES[slope.metric]
    colour, symbol = LEVELS[slope.configuration.interception]
    return go.Scatter(
        x=[rtt_s / MS for rtt_s in slope.points],
        y=[latency_s / MS for latency_s in slope.points.values()],
        name=f"{labels.configuration(slope.configuration)}, {labels.STATES[state]}",
        mode="lines+markers",
        line={"color": colour, "width": 2, "dash": DASHES[state]},
        marker={"color": colour, "symbol": symbol, "size": 8},
    )


def _own(line: Line) -> Figure:
    """What the delay line adds by itself."""
    figure = plot(height=320)
    for index, way in enumerate(dict.fromkeys(leg.way for leg in line.legs)):
        legs = [leg for leg in line.legs if leg.way == way]
        colour, symbol = WAYS[index % len(WAYS)]
        figure.add_trace(
            go.Scatter(
                x=[leg.rtt_ms for leg in legs],
                y=[leg.median_s / MS - leg.rtt_ms for leg in legs],
                error_y={
                    "type": "data",
                    "symmetric": False,
                    "array": [(leg.p90_s - leg.median_s) / MS for leg in legs],
                    "arrayminus": [(leg.median_s - leg.p10_s) / MS for leg in legs],
                    "color": colour,
                },
                name=way,
                mode="markers",
                marker={"size": 9, "color": colour, "symbol": symbol},
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
        "cell's load; 0 is the kernel's own way. Median of "
        f"n = {min(leg.n for leg in line.legs)} trips or more, bars from the 10th to the 90th percentile.",
        plot=figure,
        columns=("way", "delayed by", "asked, ms", "trips", "median, ms", "p10, ms", "p90, ms"),
        rows=tuple(
            (leg.way, leg.kind, leg.rtt_ms, leg.n, leg.median_s / MS, leg.p10_s / MS, leg.p90_s / MS)
            for leg in line.legs
        ),
    )
