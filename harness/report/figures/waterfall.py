"""The first packet, phase by phase."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.analysis.text import quantity
from harness.analysis.waterfall import Owner, Share, Waterfall
from harness.plan.model import Path
from harness.report import labels
from harness.report.figures._figure import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Figure, Value, plot

ORDER = 12
MS = 1e-3
BAR_PX = 44
OWNERS = {
    Owner.BETWEEN: (GREY, ""),
    Owner.SOURCE: (BLUE, "/"),
    Owner.TUNNEL: (RED, "x"),
    Owner.DESTINATION: (ORANGE, "\\"),
    Owner.BACKEND: (GREEN, "."),
}
"""Owner -> colour and hatching, so that nothing is told by colour alone."""
REST, REST_LOOK = "unexplained", (PURPLE, "+")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Piece:
    """One phase in one bar."""

    row: int
    paid_to: str
    begin_s: float
    length_s: float
    told: str


def figures(findings: Findings) -> list[Figure]:
    """One per path: a bar for each state of each configuration."""
    return [figure for path in labels.PATH_ORDER for figure in _path(findings, path)]


def _path(findings: Findings, path: Path) -> list[Figure]:
    order = {each.key: place for place, each in enumerate(findings.configurations)}
    of_path = sorted(
        (
            each
            for each in findings.waterfalls
            if each.configuration.path is path and not each.configuration.filler_rules
        ),
        key=lambda each: order[each.configuration.key],
    )
    shown = [each for each in of_path if not each.why_not]
    if not shown:
        return []
    return [
        Figure(
            name=f"waterfall-{path.value}",
            section="first-packet",
            question=f"What does the first packet pay, and to whom, on the path {path.value}?",
            reading=" ".join(_sentence(each) for each in _said(findings, shown)),
            caption=_caption(of_path, shown),
            plot=_bars(shown),
            columns=(
                "configuration",
                "state",
                "phase",
                "paid to",
                "mean, ms",
                "share",
                "low, ms",
                "high, ms",
                "n",
            ),
            rows=tuple(row for each in shown for row in _rows(each)),
        )
    ]


def name(each: Waterfall) -> str:
    """As a bar is called."""
    return f"{labels.configuration(each.configuration)}, {each.state.value}"


def _said(findings: Findings, shown: Sequence[Waterfall]) -> list[Waterfall]:
    """Those of the default's kind, or the first."""
    default = findings.default
    usual = [
        each
        for each in shown
        if each.configuration.dataplane == default.dataplane
        and each.configuration.interception is default.interception
        and each.configuration.reuse is default.reuse
        and each.configuration.same_node is default.same_node
        and each.configuration.ip_family is default.ip_family
    ]
    return usual or list(shown[:1])


def _sentence(each: Waterfall) -> str:
    paid = sorted(((each.owned_s(owner), owner.value) for owner in Owner), reverse=True)
    to = ", ".join(f"{owner} {quantity(seconds, 's')}" for seconds, owner in paid if seconds)
    largest = max(each.shares, key=lambda share: share.mean_s)
    return (
        f"{name(each)}: of {quantity(each.total_s, 's')} it pays {to}; "
        f"the longest phase is {largest.phase.name}, {quantity(largest.mean_s, 's')}."
    )


def _caption(of_path: Sequence[Waterfall], shown: Sequence[Waterfall]) -> str:
    counts = "; ".join(f"{name(each)}: n = {each.band} of {each.joined:,}" for each in shown)
    rest = max(each.rest_share for each in shown)
    missing = "; ".join(f"{name(each)}: {each.why_not}" for each in of_path if each.why_not)
    return (
        "Milliseconds from before connect() to the answer's first byte, cut at the stamps of client and "
        "proxies, all of one kernel's monotonic clock. Means over the same samples, those whose whole time "
        "is between the quartiles, so that phases add up; medians would not. Between processes: from one's "
        "stamp to the next one's, the kernel and the wake-up included. The app is nginx, whose clock tells "
        "milliseconds alone: its part lies between the write to it and the read from it, and is cut no "
        f"further. At the median sample at most {rest:.1%} of the time is in no phase: there is some where "
        f"a stamp is missing or out of order, as after a wrong join. {counts}."
        + (f" Not shown: {missing}." if missing else "")
    )


def _bars(shown: Sequence[Waterfall]) -> go.Figure:
    """One bar per waterfall, put together from pieces that begin where the one before ends."""
    figure = plot(height=130 + BAR_PX * len(shown), barmode="overlay")
    pieces: dict[str, list[_Piece]] = {}
    for row, each in enumerate(shown):
        for piece in _pieces(each, row):
            pieces.setdefault(piece.paid_to, []).append(piece)
    looks = {owner.value: look for owner, look in OWNERS.items()} | {REST: REST_LOOK}
    figure.add_traces([_trace(name, pieces[name], *look) for name, look in looks.items() if name in pieces])
    figure.update_yaxes(
        tickvals=list(range(len(shown))),
        ticktext=[name(each) for each in shown],
        range=[len(shown) - 0.4, -0.6],
        title={"text": ""},
    )
    figure.update_xaxes(title={"text": "since connect(), ms"}, rangemode="tozero")
    return figure


def _pieces(each: Waterfall, row: int) -> Iterator[_Piece]:
    begin_s = 0.0
    parts = [(share.phase.name, share.phase.owner.value, share.mean_s) for share in each.shares]
    if each.rest_share > 0:
        parts.append(("in no phase", REST, each.rest_s))
    for what, paid_to, length_s in parts:
        told = f"{what}: {quantity(length_s, 's')}, {length_s / each.total_s:.0%}"
        yield _Piece(row=row, paid_to=paid_to, begin_s=begin_s, length_s=length_s, told=told)
        begin_s += length_s


def _trace(paid_to: str, pieces: Sequence[_Piece], colour: str, hatch: str) -> go.Bar:
    return go.Bar(
        x=[piece.length_s / MS for piece in pieces],
        base=[piece.begin_s / MS for piece in pieces],
        y=[piece.row for piece in pieces],
        orientation="h",
        name=paid_to,
        marker={
            "color": colour,
            "line": {"width": 1, "color": "rgba(255,255,255,0.7)"},
            "pattern": {"shape": hatch, "size": 6, "solidity": 0.2, "fgcolor": "rgba(255,255,255,0.55)"},
        },
        customdata=[piece.told for piece in pieces],
        hovertemplate="%{customdata}<extra>" + paid_to + "</extra>",
    )


def _rows(each: Waterfall) -> list[tuple[Value, ...]]:
    configuration = labels.configuration(each.configuration)
    state = each.state.value

    def row(what: str, paid_to: str, seconds: float, share: Share | None = None) -> tuple[Value, ...]:
        low, high = (share.rounds.low, share.rounds.high) if share is not None else (None, None)
        return (
            configuration,
            state,
            what,
            paid_to,
            seconds / MS,
            f"{seconds / each.total_s:.1%}",
            None if low is None else low / MS,
            None if high is None else high / MS,
            each.band,
        )

    return [
        *(row(share.phase.name, share.phase.owner.value, share.mean_s, share) for share in each.shares),
        row("in no phase", REST, each.rest_s),
        row("all of it", "", each.total_s),
    ]
