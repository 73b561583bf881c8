"""The whole distribution of latencies, per path."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.analysis.measures import Samples
from harness.analysis.rounds import QUANTILES, Measure
from harness.analysis.statistics import samples_needed
from harness.plan.model import Configuration, Path, State
from harness.report import labels
from harness.report.figures._figure import STATES, Figure, Value, log_ticks, plot

ORDER = 60
DASHES = {State.COLD: "solid", State.WARM: "dash", State.NEW: "dashdot", State.STEADY: "dot"}
POINTS = 240
"""Points of a curve: more than a screen can show apart."""
MS = 1e-3


def figures(findings: Findings) -> list[Figure]:
    """One figure per path: the default's configuration beside no mesh."""
    return [figure for path in labels.PATH_ORDER for figure in _path(findings, path)]


def _path(findings: Findings, path: Path) -> list[Figure]:
    default = findings.default
    shown = [
        each
        for each in findings.configurations
        if each.path is path
        and each.ip_family is default.ip_family
        and each.rtt_ms == default.rtt_ms
        and (
            each.dataplane == "none"
            or (
                each.interception is default.interception
                and each.reuse is default.reuse
                and each.same_node is default.same_node
                and not each.tuning
            )
        )
    ]
    curves = [
        (configuration, measure)
        for configuration in shown
        for metric in labels.METRIC_STATES
        if (measure := findings.measure(configuration, metric)) is not None and measure.shown is not None
    ]
    if not curves:
        return []
    figure = plot(height=380)
    figure.add_traces([_curve(configuration, measure) for configuration, measure in curves])
    ends = [float(measure.pooled[index]) / MS for _, measure in curves for index in (0, -1)]
    figure.update_xaxes(type="log", title={"text": "time to first byte, ms"}, **log_ticks(ends))
    figure.update_yaxes(title={"text": "share of samples"}, range=[0, 1.02], tickformat=".0%")
    names = ", ".join(labels.configuration(each) for each in shown)
    return [
        Figure(
            name=f"distribution-{path.value}",
            section="distributions",
            question=f"How are latencies spread on the path {path.value}?",
            reading="The higher a curve at a given time, the more samples were that fast or faster; "
            "a long flat end is a tail. Thin lines are without the mesh.",
            caption=f"Empirical distribution of all valid samples; {names}. Time in milliseconds, "
            "logarithmic. "
            + "; ".join(f"{_name(c, m)}: n = {m.n:,}" for c, m in curves)
            + ". A percentile is printed with n of at least 10/(1-p).",
            plot=figure,
            columns=("series", "n", *(f"{name}, ms" for name in QUANTILES)),
            rows=tuple(_row(configuration, measure) for configuration, measure in curves),
        )
    ]


def _curve(configuration: Configuration, measure: Measure) -> go.Scatter:
    values, shares = thinned(measure.pooled)
    state = labels.METRIC_STATES[measure.metric]
    return go.Scatter(
        x=values / MS,
        y=shares,
        name=_name(configuration, measure),
        mode="lines",
        line={
            "color": STATES[state][0],
            "width": 1.5 if configuration.dataplane == "none" else 3,
            "shape": "hv",
            "dash": DASHES[state],
        },
        hovertemplate="%{x:.4g} ms: %{y:.1%}<extra>%{fullData.name}</extra>",
    )


def thinned(ordered: Samples) -> tuple[Samples, Samples]:
    """A distribution's steps, thinned to what can be seen; the least and the greatest value always stay."""
    count = len(ordered)
    at = np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))
    return ordered[at], (at + 1) / count


def _name(configuration: Configuration, measure: Measure) -> str:
    through = "no mesh" if configuration.dataplane == "none" else configuration.dataplane
    return f"{through}, {labels.STATES[labels.METRIC_STATES[measure.metric]]}"


def _row(configuration: Configuration, measure: Measure) -> tuple[Value, ...]:
    quantiles = {name: each.value if each else None for name, each in measure.percentiles.items()}
    return (
        _name(configuration, measure),
        measure.n,
        *(
            f"needs n = {samples_needed(QUANTILES[name]):,}" if value is None else value / MS
            for name, value in quantiles.items()
        ),
    )
