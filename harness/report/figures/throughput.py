"""Requests per second on live connections, and bits per second in bulk."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.plan.model import Interception
from harness.report import labels
from harness.report.figures._dots import Dot, Rows, dot_plot, series
from harness.report.figures._figure import LEVELS, Figure

ORDER = 50
BULK = {
    "upload": "How fast is a bulk upload?",
    "both-ways": "How fast is bulk both ways at once, each way?",
}


def figures(findings: Findings) -> list[Figure]:
    """One figure per kind of throughput."""
    load = findings.run.plan.load
    return [
        *_throughput(
            findings,
            "requests",
            scale=1e3,
            unit="thousand requests/s",
            question="How many requests a second do live connections carry?",
            what=f"{load.requests_connections} connections, one request at a time on each, "
            f"{load.response_bytes} bytes an answer, back to back for {load.requests_s:g} s a cell",
        ),
        *_throughput(
            findings,
            "transfer",
            scale=1e9,
            unit="Gb/s",
            question="How fast is a bulk download?",
            what=f"{load.transfer_streams} streams for {load.transfer_s:g} s a cell",
        ),
        *(
            figure
            for metric, question in BULK.items()
            if (asked := load.scenario(metric))
            for figure in _throughput(
                findings,
                metric,
                scale=1e9,
                unit="Gb/s",
                question=question,
                what=f"{asked['streams']} streams for {float(asked['seconds']):g} s a cell",
            )
        ),
    ]


def _throughput(
    findings: Findings, metric: str, *, scale: float, unit: str, question: str, what: str
) -> list[Figure]:
    rows, table = Rows(), []
    dots: dict[tuple[Interception, bool], list[Dot]] = {}
    for path in labels.PATH_ORDER:
        group = [each for each in findings.configurations if each.path is path]
        if group:
            rows.heading(path.value)
        for configuration in group:
            at = rows.row(labels.configuration(configuration))
            measure = findings.measure(configuration, metric)
            if measure is None or measure.shown is None:
                continue
            found, bound = measure.shown, bool(measure.at_least)
            key = (configuration.interception, bound)
            dots.setdefault(key, []).append(Dot(row=at, estimate=found, scale=scale, note=f" {unit}"))
            low, high = (None if end is None else end / scale for end in (found.low, found.high))
            note = f"at least: {measure.at_least}" if bound else ""
            table.append(
                (
                    path.value,
                    labels.configuration(configuration),
                    found.centre / scale,
                    low,
                    high,
                    found.rounds,
                    note,
                )
            )
    if not table:
        return []
    traces = [
        series(
            dots[level, bound],
            name=f"{labels.LEVELS[level]}{', at least' if bound else ''}",
            colour=LEVELS[level][0],
            symbol=LEVELS[level][1],
            hollow=bound,
        )
        for level in LEVELS
        for bound in (False, True)
        if (level, bound) in dots
    ]
    rounds = max(row[5] for row in table)
    return [
        Figure(
            name=f"throughput-{metric}",
            section="throughput",
            question=question,
            reading="Further right is more. A hollow mark is a lower bound: there the load generator "
            "was the limit.",
            caption=f"{unit}, logarithmic; {what}. Median over n = {rounds} rounds; bars are exact "
            "intervals over rounds.",
            plot=dot_plot(rows, traces, x_title=unit),
            columns=("path", "configuration", f"median, {unit}", "low", "high", "rounds", "note"),
            rows=tuple(table),
        )
    ]
