"""What packets met on their way: rules and conntrack entries, from the kernel's counters."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.analysis.statistics import Estimate
from harness.analysis.text import span
from harness.report import labels
from harness.report.figures._dots import Dot, Rows, dot_plot, series
from harness.report.figures._figure import BLUE, ORANGE, Figure

ORDER = 70
SERIES = {
    "rule_hits_per_connection": ("rule hits per connection", BLUE, "circle"),
    "conntrack_per_connection": ("conntrack entries per connection", ORANGE, "diamond"),
}


def figures(findings: Findings) -> list[Figure]:
    """Rule hits and conntrack entries per connection in the client's namespace."""
    rows, table = Rows(), []
    dots: dict[str, list[Dot]] = {}
    for path in labels.PATH_ORDER:
        group = [
            each
            for each in findings.configurations
            if each.path is path and each.dataplane != "none" and not each.tuning
        ]
        found = [(each, findings.ledgers[each.key]) for each in group if each.key in findings.ledgers]
        if found:
            rows.heading(path.value)
        for configuration, ledger in found:
            at = rows.row(labels.configuration(configuration))
            for name in SERIES:
                if name in ledger.figures:
                    value = ledger.figures[name]
                    exact = Estimate(centre=value, low=None, high=None, coverage=None, rounds=ledger.cells)
                    dots.setdefault(name, []).append(Dot(row=at, estimate=exact))
                    table.append(
                        (
                            path.value,
                            labels.configuration(configuration),
                            SERIES[name][0],
                            value,
                            ledger.cells,
                        )
                    )
    if not table:
        return []
    traces = [
        series(dots[name], name=title, colour=colour, symbol=symbol)
        for name, (title, colour, symbol) in SERIES.items()
        if name in dots
    ]
    return [
        Figure(
            name="rules",
            section="evidence",
            question="Does every packet meet the redirection rules, or only a connection's first?",
            reading="With redirect a rule is met once per connection, because conntrack remembers the "
            "rest; with "
            "tproxy every packet meets it. Without conntrack its entries are 0. This is what proves "
            "each level.",
            caption="Counts per connection opened, in the client's namespace, summed over each "
            "configuration's valid "
            f"cells (n = {span(row[-1] for row in table)}); "
            "counters, so no interval.",
            plot=dot_plot(rows, traces, x_title="count per connection", log=False),
            columns=("path", "configuration", "counted", "per connection", "cells"),
            rows=tuple(table),
        )
    ]
