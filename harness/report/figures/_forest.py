"""Ratios with their intervals, one row each, around the line where nothing differs."""

from __future__ import annotations

from collections.abc import Sequence

from harness.analysis.compare import Comparison, Word
from harness.analysis.findings import Findings
from harness.analysis.measures import METRICS
from harness.analysis.text import span
from harness.report.figures._dots import Dot, Rows, dot_plot, series
from harness.report.figures._figure import BLUE, GREEN, GREY, RED, Figure, Value, log_ticks

LOOKS = {
    Word.COSTS: (RED, "triangle-right"),
    Word.SAVES: (GREEN, "triangle-left"),
    Word.NO_DIFFERENCE: (BLUE, "circle"),
    Word.OPEN: (GREY, "circle-open"),
}
COLUMNS = ("path", "configuration", "compared with", "metric", "ratio", "low", "high", "rounds", "verdict")


def forest(
    findings: Findings,
    found: Sequence[Comparison],
    *,
    name: str,
    section: str,
    question: str,
    ratio_of: str,
    reading: str = "",
) -> list[Figure]:
    """A forest plot of comparisons, grouped by path; none where no round could be compared.

    Args:
        ratio_of: What is divided by what, for the axis.
        reading: Said before what was counted.
    """
    comparisons = [each for each in found if each.ratio is not None]
    if not comparisons:
        return []
    rows = Rows()
    dots: dict[Word, list[Dot]] = {}
    for path in dict.fromkeys(each.path for each in comparisons):
        rows.heading(path)
        group = [each for each in comparisons if each.path == path]
        several = len({(each.of.configuration, each.against.configuration) for each in group}) > 1
        for each in group:
            if each.ratio is not None:
                dot = Dot(
                    row=rows.row(_label(each, several=several)), estimate=each.ratio, note=f" {each.label}"
                )
                dots.setdefault(each.word, []).append(dot)
    traces = [
        series(dots[word], name=word.value, colour=LOOKS[word][0], symbol=LOOKS[word][1])
        for word in Word
        if word in dots
    ]
    figure = dot_plot(rows, traces, x_title=f"ratio {ratio_of} (1: equal)")
    band = max(findings.yardstick.resolution[each.of.metric] for each in comparisons)
    figure.add_vrect(x0=1 / band, x1=band, fillcolor=GREY, opacity=0.16, line_width=0, layer="below")
    figure.add_vline(x=1, line={"color": GREY, "width": 1})
    ends = [
        end
        for each in comparisons
        if each.ratio
        for end in (each.ratio.low, each.ratio.high, each.ratio.centre)
    ]
    reach = [end for end in ends if end is not None]
    figure.update_xaxes(**log_ticks([*reach, 1 / band, band]))
    figure.update_layout(showlegend=True)
    return [
        Figure(
            name=name,
            section=section,
            question=question,
            reading=f"{reading} {_counted(comparisons)}".strip(),
            caption=_caption(comparisons, band),
            plot=figure,
            columns=COLUMNS,
            rows=tuple(_row(each) for each in comparisons),
        )
    ]


def _label(each: Comparison, *, several: bool) -> str:
    metric = METRICS[each.of.metric].title
    if each.of.metric != each.against.metric:
        metric += f" / {each.against.metric.removeprefix('first.')}"
    if not several:
        return metric
    own = each.of.configuration.split(".")[2:]
    return f"{metric} ({', '.join(part for part in own if part != 'reuse-on')})"


def _counted(comparisons: Sequence[Comparison]) -> str:
    counts = {word: sum(each.word is word for each in comparisons) for word in Word}
    parts = [f"{count} {word.value}" for word, count in counts.items() if count]
    return f"Of {len(comparisons)} comparisons: {', '.join(parts)}."


def _caption(comparisons: Sequence[Comparison], band: float) -> str:
    rounds = [each.ratio.rounds for each in comparisons if each.ratio]
    coverage = [each.ratio.coverage for each in comparisons if each.ratio and each.ratio.coverage]
    bars = f"bars are intervals of {min(coverage):.1%}" if coverage else "too few rounds for intervals"
    return (
        f"Geometric mean of the rounds' ratios, n = {span(rounds)} rounds; {bars}. "
        f"The grey band is the resolution, {(band - 1) * 100:.3g} %. "
        "Latency: above 1 is slower; throughput: above 1 is more."
    )


def _row(each: Comparison) -> tuple[Value, ...]:
    ratio = each.ratio
    return (
        each.path,
        each.of.configuration,
        each.against.configuration,
        METRICS[each.of.metric].title
        if each.of.metric == each.against.metric
        else f"{METRICS[each.of.metric].title} / {METRICS[each.against.metric].title}",
        ratio.centre if ratio else None,
        ratio.low if ratio else None,
        ratio.high if ratio else None,
        ratio.rounds if ratio else 0,
        each.word.value,
    )
