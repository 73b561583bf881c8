"""What the scenarios of load came to, as a table: each metric that the overview has no column for."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.analysis.measures import CORE, METRICS, OPTIONAL
from harness.analysis.text import quantity
from harness.report import labels
from harness.report.tables import Table, shown


def loads(findings: Findings, *, brief: bool = False) -> Table:
    """Scenario's metric by path and configuration, with its interval, p99 where it is a latency, and n.

    Args:
        brief: Without the second reading of what the overview has a column for: latency from the real start.
    """
    rows = []
    for name in OPTIONAL:
        metric = METRICS[name]
        if brief and metric.stage in CORE:
            continue
        for configuration in labels.ordered(findings.configurations):
            measure = findings.measure(configuration, name)
            if measure is None or measure.estimate is None:
                continue
            tail = measure.percentiles.get("p99")
            rows.append(
                (
                    metric.title,
                    configuration.path.value,
                    labels.configuration(configuration),
                    shown(measure),
                    quantity(tail.value, metric.unit) if tail else "–",
                    f"{measure.n:,}",
                    str(len(measure.per_round)),
                )
            )
    return Table(
        columns=("measured", "path", "configuration", "median (interval)", "p99", "n", "rounds"),
        rows=tuple(rows),
    )
