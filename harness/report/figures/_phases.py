"""What the figures of the first packet's phases share: pieces of bars that show who is paid, and rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import plotly.graph_objects as go

from harness.analysis.findings import Findings
from harness.analysis.text import quantity
from harness.analysis.waterfall import Owner, Waterfall
from harness.plan.model import Path
from harness.report import labels
from harness.report.figures._figure import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, Value

MS = 1e-3
UNEXPLAINED = "unexplained"
LOOKS = {
    Owner.BETWEEN.value: (GREY, ""),
    Owner.SOURCE.value: (BLUE, "/"),
    Owner.TUNNEL.value: (RED, "x"),
    Owner.DESTINATION.value: (ORANGE, "\\"),
    Owner.BACKEND.value: (GREEN, "."),
    UNEXPLAINED: (PURPLE, "+"),
}
"""Who is paid -> colour and hatching, so that nothing is told by colour alone."""
EDGE, SHADE = "rgba(255,255,255,0.8)", "rgba(255,255,255,0.5)"
"""Between pieces, and the hatching on them."""
COLUMNS = ("configuration", "state", "phase", "paid to", "mean, ms", "share", "low, ms", "high, ms", "n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One phase, as it is drawn."""

    row: int
    what: str
    paid_to: str
    begin_s: float
    length_s: float
    share: float


def of_path(findings: Findings, path: Path) -> list[Waterfall]:
    """A path's waterfalls, shown or not, in the order of the suite; filler rules left out."""
    order = {each.key: place for place, each in enumerate(findings.configurations)}
    found = [
        each
        for each in findings.waterfalls
        if each.configuration.path is path and not each.configuration.filler_rules
    ]
    return sorted(found, key=lambda each: order[each.configuration.key])


def name(each: Waterfall) -> str:
    """As it is called."""
    return f"{labels.configuration(each.configuration)}, {each.state.value}"


def counts(shown: Sequence[Waterfall]) -> str:
    """How many samples are behind each."""
    return "; ".join(f"{name(each)}: n = {each.band} of {each.joined:,}" for each in shown)


def pieces(each: Waterfall, row: int, *, a_row_each: bool = False) -> Iterator[Piece]:
    """A waterfall's phases, each from where the one before ends; what is in none comes last."""
    begin_s = 0.0
    parts = [(share.phase.name, share.phase.owner.value, share.mean_s) for share in each.shares]
    if each.rest_share > 0:
        parts.append(("in no phase", UNEXPLAINED, each.rest_s))
    for place, (what, paid_to, length_s) in enumerate(parts):
        yield Piece(
            row=row + place * a_row_each,
            what=what,
            paid_to=paid_to,
            begin_s=begin_s,
            length_s=length_s,
            share=length_s / each.total_s,
        )
        begin_s += length_s


def traces(drawn: Sequence[Piece], *, width: float, told: bool = False) -> list[go.Bar]:
    """One series per who is paid; with `told` each piece has its figure beside it."""
    return [
        _trace(paid_to, of_owner, colour, hatch, width=width, told=told)
        for paid_to, (colour, hatch) in LOOKS.items()
        if (of_owner := [piece for piece in drawn if piece.paid_to == paid_to])
    ]


def _trace(
    paid_to: str, drawn: Sequence[Piece], colour: str, hatch: str, *, width: float, told: bool
) -> go.Bar:
    return go.Bar(
        x=[piece.length_s / MS for piece in drawn],
        base=[piece.begin_s / MS for piece in drawn],
        y=[piece.row for piece in drawn],
        width=width,
        orientation="h",
        name=paid_to,
        marker={
            "color": colour,
            "line": {"width": 1, "color": EDGE},
            "pattern": {"shape": hatch, "fillmode": "overlay", "size": 6, "solidity": 0.2, "fgcolor": SHADE},
        },
        text=[f"{quantity(piece.length_s, 's')}, {piece.share:.0%}" for piece in drawn] if told else None,
        textposition="outside",
        textangle=0,
        cliponaxis=False,
        customdata=[f"{piece.what}: {quantity(piece.length_s, 's')}, {piece.share:.0%}" for piece in drawn],
        hovertemplate="%{customdata}<extra>" + paid_to + "</extra>",
    )


def rows(each: Waterfall) -> Iterator[tuple[Value, ...]]:
    """The table twin: every phase, what is in none, and all of it."""

    def row(what: str, paid_to: str, seconds: float, *ends: float | None) -> tuple[Value, ...]:
        return (
            labels.configuration(each.configuration),
            each.state.value,
            what,
            paid_to,
            seconds / MS,
            f"{seconds / each.total_s:.1%}",
            *(None if end is None else end / MS for end in ends or (None, None)),
            each.band,
        )

    for share in each.shares:
        yield row(
            share.phase.name, share.phase.owner.value, share.mean_s, share.rounds.low, share.rounds.high
        )
    yield row("in no phase", UNEXPLAINED, each.rest_s)
    yield row("all of it", "", each.total_s)
