"""What each lane does by itself, whichever configuration stands on it."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.analysis.measures import METRICS
from harness.report.figures._dots import Dot, Rows, dot_plot, series
from harness.report.figures._figure import BLUE, Figure

ORDER = 75.5


def figures(findings: Findings) -> list[Figure]:
    """A dot per lane, path and metric; none where one lane carried all."""
    effects = findings.lane_effects
    if not effects:
        return []
    rows = Rows()
    dots = [
        Dot(
            row=rows.row(f"{each.path}, {METRICS[each.metric].title}: lane {each.lane}"),
            estimate=each.ratio,
            note="",
        )
        for each in effects
    ]
    figure = dot_plot(
        rows,
        [series(dots, name="lane", colour=BLUE, symbol="circle")],
        x_title="ratio of a lane to the mean of all (1: as the others)",
    )
    figure.add_vline(x=1, line={"width": 1})
    furthest = max(effects, key=lambda each: abs(each.ratio.centre - 1))
    return [
        Figure(
            name="lanes",
            section="validity",
            question="Does a lane do something by itself?",
            reading=f"Lane {furthest.lane} is furthest from the others: "
            f"{(furthest.ratio.centre - 1) * 100:+.1f} % on {furthest.path}, "
            f"{METRICS[furthest.metric].title}. "
            "Configurations move from lane to lane, so that none of this passes for a factor.",
            caption="What is left of each cell without its configuration's mean and its bout's; mean by "
            f"lane, n = {max(each.ratio.rounds for each in effects)} rounds; bars are 95 % intervals.",
            plot=figure,
            columns=("path", "metric", "lane", "ratio", "low", "high"),
            rows=tuple(
                (
                    each.path,
                    METRICS[each.metric].title,
                    each.lane,
                    each.ratio.centre,
                    each.ratio.low,
                    each.ratio.high,
                )
                for each in effects
            ),
        )
    ]
