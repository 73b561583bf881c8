"""Runs held against each other, as text, markdown and one HTML page: the same rows in each."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files

from jinja2 import Environment, StrictUndefined, select_autoescape

from harness.analysis.across import Across, Change, Moved, percents_of
from harness.analysis.measures import METRICS
from harness.analysis.statistics import Estimate
from harness.analysis.text import quantity
from harness.report import labels
from harness.report.markdown import lines, plain
from harness.report.tables import Table

ASSETS = files("harness.report") / "assets"
COLUMNS = ("configuration", "metric", "before", "after", "change (interval)", "p (Holm)", "verdict")
ORDER = (Change.WORSE, Change.BETTER, Change.OPEN, Change.SAME)
"""What needs attention first."""


def table(found: Across) -> Table:
    """Every metric, what changed first."""
    ordered = sorted(found.moved, key=lambda each: ORDER.index(each.change))
    return Table(columns=COLUMNS, rows=tuple(_row(each) for each in ordered))


def headline(found: Across) -> str:
    """The counts in one line; a forced comparison says so."""
    counts = ", ".join(f"{len(found.of(change))} {change.value}" for change in ORDER)
    forced = " FORCED: the runs are not alike." if found.unlike else ""
    return f"{found.run} against {found.reference}: {counts}.{forced}"


def noise(found: Across) -> str:
    """What a change has to exceed, in one line."""
    said = (
        f"{what}: {', '.join(f'{metric} {percent:g} %' for metric, percent in percents.items())}."
        for what, percents in (
            ("Equal configurations differed by at most", percents_of(found.noise)),
            ("Without the mesh, between the runs, moved by at most", percents_of(found.drift)),
        )
        if percents
    )
    return " ".join(said)


def text(results: Sequence[Across]) -> str:
    """For a terminal."""
    blocks = []
    for found in results:
        shown = table(found)
        rows = [list(shown.columns), *map(list, shown.rows)]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        body = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        blocks.append("\n".join([headline(found), *found.unlike, *body, noise(found), *_missing(found)]))
    return "\n\n".join(blocks)


def markdown(results: Sequence[Across]) -> str:
    """For a pull request: what changed in the open, the rest folded."""
    written = []
    for found in results:
        moved = [each for each in found.moved if each.change in {Change.WORSE, Change.BETTER}]
        written += [f"## {plain(headline(found))}", ""]
        written += [f"> {plain(each)}" for each in found.unlike]
        written += (
            ["", *lines(Table(columns=COLUMNS, rows=tuple(_row(each) for each in moved)))] if moved else []
        )
        written += [
            "",
            "<details><summary>Every metric</summary>",
            "",
            *lines(table(found)),
            "",
            "</details>",
            "",
        ]
        written += [plain(noise(found)), *map(plain, _missing(found)), ""]
    return "\n".join(written)


def html(results: Sequence[Across]) -> str:
    """One self-contained page: no script, nothing loaded."""
    environment = Environment(
        autoescape=select_autoescape(default=True, default_for_string=True), undefined=StrictUndefined
    )
    template = environment.from_string((ASSETS / "compare.html.j2").read_text(encoding="utf-8"))
    style = (ASSETS / "style.css").read_text(encoding="utf-8")
    blocks = [
        {"headline": headline(each), "table": table(each), "noise": noise(each), "found": each}
        for each in results
    ]
    page: str = template.render(blocks=blocks, style=style)
    return page


def _row(each: Moved) -> tuple[str, ...]:
    ratio, p = each.comparison.ratio, each.comparison.p_family
    return (
        each.side.configuration,
        METRICS[each.side.metric].title,
        quantity(each.before, each.unit),
        quantity(each.after, each.unit),
        percent(ratio) if ratio else "–",
        "–" if p is None else f"{p:.2g}",
        f"{labels.SIGNS[each.change.value]} {each.change.value}",
    )


def percent(ratio: Estimate) -> str:
    """A ratio as a change: `+4.1 % (+1.9 to +6.2)`."""
    middle = f"{(ratio.centre - 1) * 100:+.1f} %"
    if ratio.low is None or ratio.high is None:
        return middle
    return f"{middle} ({(ratio.low - 1) * 100:+.1f} to {(ratio.high - 1) * 100:+.1f})"


def _missing(found: Across) -> list[str]:
    return [f"In one of the runs only: {', '.join(found.missing)}."] if found.missing else []
