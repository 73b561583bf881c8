"""The first packet, phase by phase, through the default's kind of mesh and without any."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.analysis.text import quantity
from harness.analysis.waterfall import Owner, Waterfall
from harness.plan.model import Configuration, Path
from harness.report import labels
from harness.report.figures._figure import Figure, plot
from harness.report.figures._phases import COLUMNS, MS, Piece, counts, name, of_path, pieces, rows, traces

ORDER = 12
STEP_PX = 21


def figures(findings: Findings) -> list[Figure]:
    """One per path."""
    return [figure for path in labels.PATH_ORDER for figure in _path(findings, path)]


def _path(findings: Findings, path: Path) -> list[Figure]:
    usual = [each for each in of_path(findings, path) if _usual(each.configuration, findings.default)]
    shown = [each for each in usual if not each.why_not]
    if not shown:
        return []
    return [
        Figure(
            name=f"waterfall-{path.value}",
            section="first-packet",
            question=f"What does the first packet pay, and to whom, on the path {path.value}?",
            reading=" ".join(_sentence(each) for each in shown),
            caption=_caption(usual, shown),
            plot=_stairs(shown),
            columns=COLUMNS,
            rows=tuple(row for each in shown for row in rows(each)),
        )
    ]


def _usual(configuration: Configuration, default: Configuration) -> bool:
    """Whether it is no mesh, or the default but for its path."""
    if (configuration.ip_family, configuration.rtt_ms) != (default.ip_family, default.rtt_ms):
        return False
    return configuration.dataplane == "none" or (
        configuration.dataplane == default.dataplane
        and configuration.interception is default.interception
        and configuration.reuse is default.reuse
        and configuration.same_node is default.same_node
    )


def _sentence(each: Waterfall) -> str:
    paid = sorted(((each.owned_s(owner), owner.value) for owner in Owner), reverse=True)
    to = ", ".join(f"{owner} {quantity(seconds, 's')}" for seconds, owner in paid if seconds)
    largest = max(each.shares, key=lambda share: share.mean_s)
    return (
        f"{name(each).capitalize()}: of {quantity(each.total_s, 's')}, {to}; "
        f"the longest phase is {largest.phase.name}, {quantity(largest.mean_s, 's')}."
    )


def _caption(usual: Sequence[Waterfall], shown: Sequence[Waterfall]) -> str:
    missing = "; ".join(f"{name(each)}: {each.why_not}" for each in usual if each.why_not)
    rest = max(each.rest_share for each in shown)
    return (
        "Milliseconds from before connect() to the answer's first byte, cut at the stamps of client and "
        "proxies, all of one kernel's monotonic clock. Means over the same samples, those whose whole time "
        "is between the quartiles, so that phases add up; medians would not. Between processes: from one's "
        "stamp to the next one's, the kernel and the wake-up included. The app is nginx, whose clock tells "
        "milliseconds alone: its part lies between the write to it and the read from it, and is cut no "
        f"further. At the median sample at most {rest:.1%} of the time is in no phase: there is some where "
        f"a stamp is missing or out of order, as after a wrong join. {counts(shown)}; the table has each "
        "phase's interval over rounds." + (f" Not shown: {missing}." if missing else "")
    )


def _stairs(shown: Sequence[Waterfall]) -> go.Figure:
    """A row for each phase, which begins where the one above it ends."""
    headed: list[str] = []
    drawn: list[Piece] = []
    for each in shown:
        title = name(each).replace(", ", " · ")  # on narrow screens a comma would end the line
        headed.append(f"<b>{title}: {quantity(each.total_s, 's')}</b>")
        steps = list(pieces(each, len(headed), a_row_each=True))
        headed += [step.what for step in steps]
        drawn += steps
    figure = plot(height=100 + STEP_PX * len(headed), barmode="overlay")
    figure.add_traces(traces(drawn, width=0.8, told=True))
    figure.update_yaxes(
        tickvals=list(range(len(headed))),
        ticktext=headed,
        range=[len(headed) - 0.4, -0.6],
        showgrid=False,
        title={"text": ""},
    )
    longest = max(piece.begin_s + piece.length_s for piece in drawn)  # and room for its figure
    figure.update_xaxes(title={"text": "since connect(), ms"}, range=[0, 1.3 * longest / MS])
    return figure
