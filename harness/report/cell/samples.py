"""The cell's own samples: their distribution, their percentiles, and where they lie among the rounds."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.analysis.findings import Findings
from harness.analysis.judge import JudgedCell
from harness.analysis.measures import METRICS, Measured
from harness.analysis.rounds import QUANTILES
from harness.analysis.statistics import samples_needed
from harness.analysis.text import quantity
from harness.report import labels
from harness.report.cell._block import Block, Curve
from harness.report.figures._figure import GREY, ORANGE, STATES
from harness.report.figures.distribution import DASHES

ORDER = 10
MS = 1e-3


def blocks(findings: Findings, cell: JudgedCell) -> Iterator[Block]:
    """One block; none for a cell whose samples cannot be believed."""
    if not cell.measured:
        return
    latencies = [each for each in cell.measured.values() if len(each.samples)]
    yield Block(
        question="How long did its packets take?",
        reading="The higher a curve at a given time, the more samples were that fast or faster. The last "
        "column holds this round against the same configuration's median over all rounds.",
        columns=("metric", "n", *QUANTILES, "this round", "against all rounds"),
        rows=tuple(_row(findings, cell, each) for each in cell.measured.values()),
        axis="time to first byte, ms",
        curves=tuple(map(_curve, latencies)),
    )


def _curve(measured: Measured) -> Curve:
    state = labels.METRIC_STATES.get(measured.metric)
    colour = STATES[state][0] if state else {"rate": ORANGE}.get(measured.metric, GREY)
    return Curve.of(
        measured.samples,
        name=METRICS[measured.metric].title,
        colour=colour,
        dash=DASHES[state] if state else "longdash",
        scale=MS,
    )


def _row(findings: Findings, cell: JudgedCell, measured: Measured) -> tuple[str, ...]:
    metric = METRICS[measured.metric]
    over_rounds = findings.measure(cell.configuration, measured.metric)
    usual = over_rounds.estimate if over_rounds else None
    return (
        metric.title,
        f"{measured.n:,}",
        *(
            quantity(float(np.quantile(measured.samples, share)), "s")
            if measured.n >= samples_needed(share)
            else f"needs n = {samples_needed(share):,}"
            for share in (QUANTILES.values() if len(measured.samples) else ())
        ),
        *("" for _ in (QUANTILES if not len(measured.samples) else ())),
        quantity(measured.value, metric.unit),
        f"{(measured.value / usual.centre - 1) * 100:+.1f} %" if usual else "",
    )
