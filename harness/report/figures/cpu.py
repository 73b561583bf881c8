"""Who pays the CPU: time of each component per unit of work, one figure per stage."""

from __future__ import annotations

import plotly.graph_objects as go

from harness.analysis.bills import StageBill
from harness.analysis.findings import Findings
from harness.analysis.text import significant, span
from harness.evidence.sources.cpu import Component
from harness.plan.model import Configuration
from harness.report import labels
from harness.report.figures._dots import Rows
from harness.report.figures._figure import BLUE, GREEN, GREY, ORANGE, PURPLE, ROW_PX, Figure, plot

ORDER = 55
LOOKS = {
    Component.GENERATOR: ("generator", GREY, "/"),
    Component.SOURCE_PROXY: ("source proxy", BLUE, ""),
    Component.DESTINATION_PROXY: ("destination proxy", ORANGE, "\\"),
    Component.PROXY_OF_BOTH: ("proxy of both ends", PURPLE, "x"),
    Component.BACKEND: ("backend", GREEN, "."),
}
STAGES = (
    ("requests", "Who pays the CPU of a request under load?", "µs of CPU per request", 1e-6),
    ("transfer", "Who pays the CPU of a gigabyte?", "ms of CPU per gigabyte", 1e-3),
    (
        "probe",
        "Who pays the CPU of a connection?",
        "ms of CPU per connection, its later requests included",
        1e-3,
    ),
)


def figures(findings: Findings) -> list[Figure]:
    """A stacked bar per configuration; none where the run holds no such evidence."""
    return [
        figure
        for stage, question, unit, scale in STAGES
        for figure in _stage(findings, stage, question=question, unit=unit, scale=scale)
    ]


def _stage(findings: Findings, stage: str, *, question: str, unit: str, scale: float) -> list[Figure]:
    rows = Rows()
    placed: list[tuple[int, Configuration, StageBill]] = []
    for path in labels.PATH_ORDER:
        group = [
            (each, bill.stages[stage])
            for each in findings.configurations
            if each.path is path
            and not each.tuning
            and (bill := findings.bills.get(each.key)) is not None
            and stage in bill.stages
        ]
        if group:
            rows.heading(path.value)
        placed += [(rows.row(labels.configuration(each)), each, bill) for each, bill in group]
    if not placed:
        return []
    figure = plot(height=120 + ROW_PX * len(rows.labels), barmode="stack", bargap=0.25)
    for component, (name, colour, pattern) in LOOKS.items():
        bars = [
            (row, bill.components[component].cpu_ns / 1e9 / bill.work / scale)
            for row, _, bill in placed
            if component in bill.components
        ]
        if bars:
            figure.add_trace(
                go.Bar(
                    orientation="h",
                    y=[row for row, _ in bars],
                    x=[value for _, value in bars],
                    name=name,
                    marker={"color": colour, "pattern": {"shape": pattern, "size": 6, "solidity": 0.25}},
                    hovertemplate=f"%{{x:.4g}}<extra>{name}</extra>",
                )
            )
    figure.update_yaxes(
        tickvals=list(range(len(rows.labels))),
        ticktext=rows.labels,
        range=[len(rows.labels) - 0.4, -0.6],
        title={"text": ""},
    )
    figure.update_xaxes(title={"text": unit}, rangemode="tozero")
    cells = span(findings.bills[each.key].cells for _, each, _ in placed)
    return [
        Figure(
            name=f"cpu-{stage}",
            section="cpu",
            question=question,
            reading=_reading(placed, scale, unit),
            caption=f"{unit}, by the scheduler's clock of each component's processes, the kernel's work on "
            f"their behalf included; summed over each configuration's valid cells (n = {cells}), "
            "so no interval. The kernel's share is counted by clock ticks. Elsewhere: the "
            "rest of the machine in the same time, other programs included; not drawn.",
            plot=figure,
            columns=(
                *("path", "configuration", "component", unit, "of it in the kernel"),
                *(
                    "voluntary switches",
                    "involuntary switches",
                    "waited for a CPU",
                    "memory, MB",
                    "peak since start, MB",
                ),
                "elsewhere",
            ),
            rows=tuple(
                (
                    each.path.value,
                    labels.configuration(each),
                    LOOKS[Component(row["component"])][0],
                    row["cpu_s"] / scale,
                    row["kernel_share"],
                    row["voluntary_switches"],
                    row["involuntary_switches"],
                    None if row["waited_s"] is None else row["waited_s"] / scale,
                    row["rss_bytes"] / 1e6,
                    row["peak_bytes"] / 1e6,
                    None if bill.elsewhere_s is None else bill.elsewhere_s / bill.work / scale,
                )
                for _, each, bill in placed
                for row in bill.rows()
            ),
        )
    ]


def _reading(placed: list[tuple[int, Configuration, StageBill]], scale: float, unit: str) -> str:
    """The dearest bar and the proxies' part of it."""
    _, dearest, bill = max(placed, key=lambda item: _total_s(item[2]))
    total_s = _total_s(bill)
    proxies = sum(usage.cpu_ns for usage in bill.proxies) / 1e9 / bill.work
    named = f"{dearest.path.value}, {labels.configuration(dearest)}"
    share = f"; the proxies pay {proxies / total_s:.0%} of it" if proxies else ""
    return f"The dearest is {named}: {significant(total_s / scale)} {unit}{share}."


def _total_s(bill: StageBill) -> float:
    return sum(usage.cpu_ns for usage in bill.components.values()) / 1e9 / bill.work
