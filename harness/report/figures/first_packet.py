"""First and later packets by path and configuration."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.analysis.text import span
from harness.plan.model import State
from harness.report import labels
from harness.report.figures._dots import Dot, Rows, dot_plot, series
from harness.report.figures._figure import STATES, Figure

ORDER = 10
MS = 1e-3


def figures(findings: Findings) -> list[Figure]:
    """Medians of each state that exists, one row per configuration."""
    rows, table = Rows(), []
    dots: dict[State, list[Dot]] = {}
    for path in labels.PATH_ORDER:
        group = [each for each in findings.configurations if each.path is path]
        if group:
            rows.heading(path.value)
        for configuration in group:
            at = rows.row(labels.configuration(configuration))
            for metric, state in labels.METRIC_STATES.items():
                measure = findings.measure(configuration, metric)
                if measure is None or measure.shown is None:
                    continue
                found = measure.shown
                dots.setdefault(state, []).append(
                    Dot(row=at, estimate=found, scale=MS, note=f" ms, n = {measure.n:,}")
                )
                low, high = (None if end is None else end / MS for end in (found.low, found.high))
                name = labels.configuration(configuration)
                table.append(
                    (path.value, name, labels.STATES[state], found.centre / MS, low, high, measure.n)
                )
    if not table:
        return []
    traces = [
        series(dots[state], name=labels.STATES[state], colour=STATES[state][0], symbol=STATES[state][1])
        for state in STATES
        if state in dots
    ]
    return [
        Figure(
            name="first-packet",
            section="first-packet",
            question="What does a connection's first packet take, and what do the later ones?",
            reading="Each row is a configuration; the further a first packet's mark is to the right of the "
            "triangle, the more the first packet pays. States that do not exist for a configuration "
            "have no mark.",
            caption="Time to the answer's first byte, milliseconds, logarithmic. First packets count "
            "from connect(), later ones from send(). Median over rounds of the rounds' medians; "
            f"n = {span(row[-1] for row in table)} samples a mark; "
            "bars are exact intervals over rounds, where there are rounds enough.",
            plot=dot_plot(rows, traces, x_title="time to first byte, ms"),
            columns=("path", "configuration", "state", "median, ms", "low, ms", "high, ms", "n"),
            rows=tuple(table),
        )
    ]
