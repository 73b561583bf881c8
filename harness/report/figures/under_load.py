"""What a small request waits beside other traffic: nothing, a saturating flow, an idle fleet."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.report import labels
from harness.report.figures._dots import Dot, Rows, dot_plot, series
from harness.report.figures._figure import BLUE, GREEN, RED, Figure, Value

ORDER = 63
BESIDE = {
    "under-load.idle": ("beside nothing", BLUE, "circle"),
    "idle-fleet": ("beside an idle fleet", GREEN, "square"),
    "under-load": ("beside a saturating download", RED, "diamond"),
}


def figures(findings: Findings) -> list[Figure]:
    """One row per configuration, one mark per neighbour."""
    rows, table = Rows(), list[tuple[Value, ...]]()
    dots: dict[str, list[Dot]] = {}
    for path in labels.PATH_ORDER:
        group = [
            each
            for each in findings.configurations
            if each.path is path and any(findings.measure(each, metric) for metric in BESIDE)
        ]
        if group:
            rows.heading(path.value)
        for configuration in group:
            at = rows.row(labels.configuration(configuration))
            for metric, (beside, _, _) in BESIDE.items():
                measure = findings.measure(configuration, metric)
                if measure is None or measure.shown is None:
                    continue
                tail = measure.percentiles.get("p99")
                found = measure.shown
                ends = [None if end is None else end * 1e3 for end in (found.low, found.high)]
                dots.setdefault(metric, []).append(Dot(row=at, estimate=found, scale=1e-3, note=" ms"))
                table.append(
                    (
                        path.value,
                        labels.configuration(configuration),
                        beside,
                        found.centre * 1e3,
                        *ends,
                        tail.value * 1e3 if tail else None,
                        measure.n,
                    )
                )
    if not table:
        return []
    traces = [
        series(dots[metric], name=beside, colour=colour, symbol=symbol)
        for metric, (beside, colour, symbol) in BESIDE.items()
        if metric in dots
    ]
    most = max(int(row[-1] or 0) for row in table)
    return [
        Figure(
            name="under-load",
            section="throughput",
            question="What does a small request wait beside other traffic?",
            reading="The further a mark lies from that of its row beside nothing, the longer the queue that "
            "the other traffic leaves in the path. Requests leave when they are due, answered or not.",
            caption=f"ms, logarithmic; medians from the intended start over rounds, bars are their exact "
            f"intervals; up to n = {most:,} requests a mark.",
            plot=dot_plot(rows, traces, x_title="ms to the first byte"),
            columns=("path", "configuration", "beside", "median, ms", "low", "high", "p99, ms", "n"),
            rows=tuple(table),
        )
    ]
