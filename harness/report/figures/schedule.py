"""Whether the load generator kept time: what was due, sent, late and never sent, and its own health."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.analysis.statistics import estimate
from harness.evidence.limits import CPU_SHARE, LAG_NS
from harness.evidence.sources.document import Unreadable
from harness.evidence.sources.generator import Health
from harness.plan.model import Interception
from harness.report import labels
from harness.report.figures._dots import Dot, Rows, dot_plot, series
from harness.report.figures._figure import LEVELS, Figure, Value

ORDER = 76


def figures(findings: Findings) -> list[Figure]:
    """Its share of a core in every stage, and the schedule of those that have one."""
    rows, table = Rows(), list[tuple[Value, ...]]()
    dots: dict[Interception, list[Dot]] = {}
    for configuration in labels.ordered(findings.configurations):
        stages: dict[str, list[Health]] = {}
        for cell in findings.cells:
            if cell.usable and cell.configuration == configuration:
                try:
                    healths = cell.case.generator
                except Unreadable:
                    continue
                for stage, health in healths.items():
                    stages.setdefault(stage, []).append(health)
        for stage, found in stages.items():
            shares = [health.cpu_share * 100 for health in found]
            at = rows.row(f"{configuration.path.value}, {labels.configuration(configuration)}: {stage}")
            dots.setdefault(configuration.interception, []).append(
                Dot(row=at, estimate=estimate(shares), note=" %")
            )
            table.append(
                (configuration.path.value, labels.configuration(configuration), stage, *_schedule(found))
            )
    if not table:
        return []
    traces = [
        series(dots[level], name=labels.LEVELS[level], colour=LEVELS[level][0], symbol=LEVELS[level][1])
        for level in LEVELS
        if level in dots
    ]
    figure = dot_plot(rows, traces, x_title="% of a core", log=False)
    figure.add_vline(x=CPU_SHARE * 100, line={"dash": "dash", "width": 1})
    return [
        Figure(
            name="schedule",
            section="validity",
            question="Did the load generator keep up?",
            reading=f"Right of the line at {CPU_SHARE:.0%} a stage's throughput is the generator's. The "
            "table has the schedules: requests due, sent, over 1 ms late, and never sent.",
            caption=f"CPU time of the busiest load process per wall time, median over cells; n = "
            f"{len(table)} stages. A lag p99 over {LAG_NS / 1e6:g} ms is a limit too, where time counts.",
            plot=figure,
            columns=(
                "path",
                "configuration",
                "stage",
                "cells",
                "CPU, % of a core",
                "due",
                "sent",
                "late",
                "never sent",
                "lag p99, ms",
            ),
            rows=tuple(table),
        )
    ]


def _schedule(found: list[Health]) -> tuple[Value, ...]:
    due = sum(health.scheduled for health in found)
    lags = [health.lag_p99_ns for health in found if health.lag_p99_ns is not None]
    kept: tuple[Value, ...] = (None, None, None, None)
    if due:
        kept = (
            due,
            sum(health.rows for health in found),
            sum(health.late for health in found),
            sum(health.unsent for health in found),
        )
    shares = [health.cpu_share * 100 for health in found]
    return (len(found), estimate(shares).centre, *kept, max(lags) / 1e6 if lags else None)
