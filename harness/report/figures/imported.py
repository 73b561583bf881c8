"""Other tools' results beside the run's own fixed-rate latencies."""

from __future__ import annotations

from collections.abc import Iterator

import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.analysis.fortio import Fortio, NotFortio
from harness.analysis.rounds import QUANTILES, Measure
from harness.report import labels
from harness.report.figures._figure import BLUE, GREEN, GREY, ORANGE, PURPLE, Figure, Value, log_ticks, plot
from harness.report.figures.distribution import thinned

ORDER = 65
MS = 1e-3
COLOURS = (ORANGE, GREEN, PURPLE)
DASHES = ("dash", "dot", "dashdot", "longdash", "longdashdot")


def figures(findings: Findings) -> list[Figure]:
    """The default configuration and no mesh on its path, beside everything that was imported."""
    others = list(_read(findings))
    default = findings.default
    own = [
        measure
        for each in findings.configurations
        if each.path is default.path and (each.key == default.key or each.dataplane == "none")
        if (measure := findings.measure(each, "rate")) is not None and len(measure.pooled)
    ]
    if not others or not own:
        return []
    figure = plot(height=360, showlegend=True)
    figure.add_traces([_own(each) for each in own])
    figure.add_traces([_other(each, number) for number, each in enumerate(others)])
    ends = [value for trace in figure.data for value in (trace.x[0], trace.x[-1])]
    figure.update_xaxes(type="log", title={"text": "time to first byte, ms"}, **log_ticks(ends))
    figure.update_yaxes(title={"text": "share of requests"}, range=[0, 1.02], tickformat=".0%")
    return [
        Figure(
            name="imported",
            section="distributions",
            question="Does another load generator see the same?",
            reading="Fortio's results beside this run's fixed-rate latencies on its default path. No verdict "
            "comes of them: another generator's result has no rounds to pair, and no proof of its way.",
            caption="Time in milliseconds, logarithmic; Fortio's from its buckets. "
            + "; ".join(
                f"{each.name}: n = {each.n:,} at {each.actual:,.0f} of {each.requested}/s" for each in others
            ),
            plot=figure,
            columns=("result", "n", "failed", *(f"{name}, ms" for name in QUANTILES), "rate, /s"),
            rows=(*map(_own_row, own), *map(_other_row, others)),
        )
    ]


def _read(findings: Findings) -> Iterator[Fortio]:
    for name, document in findings.run.imported.items():
        try:
            yield Fortio.from_document(document, name)
        except NotFortio:
            continue  # `import` refuses such a file; one that was put there by hand is nobody's figure


def _name(measure: Measure) -> str:
    return f"ours, {labels.configuration(measure.configuration)}"


def _own(measure: Measure) -> go.Scatter:
    values, shares = thinned(measure.pooled)
    direct = measure.configuration.dataplane == "none"
    return go.Scatter(
        x=values / MS,
        y=shares,
        name=_name(measure),
        mode="lines",
        line={
            "color": GREY if direct else BLUE,
            "width": 1.5 if direct else 3,
            "shape": "hv",
            "dash": "solid",
        },
    )


def _other(found: Fortio, number: int) -> go.Scatter:
    return go.Scatter(
        x=[end / MS for end in found.ends],
        y=list(found.shares),
        name=f"Fortio, {found.name}",
        mode="lines",
        line={
            "color": COLOURS[number % len(COLOURS)],
            "width": 2 + number // len(DASHES),
            "dash": DASHES[number % len(DASHES)],
        },
    )


def _own_row(measure: Measure) -> tuple[Value, ...]:
    found = (each.value / MS if each else None for each in measure.percentiles.values())
    return (_name(measure), measure.n, 0, *found, None)


def _other_row(other: Fortio) -> tuple[Value, ...]:
    found = (other.percentile(share) for share in QUANTILES.values())
    return (
        f"Fortio, {other.name}",
        other.n,
        other.failed,
        *(None if value is None else value / MS for value in found),
        other.actual,
    )
