"""The summary for a terminal; plain text where standard output is none."""

from __future__ import annotations

import io
import os
import shutil
import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from harness.analysis.findings import Findings
from harness.report import labels, tables
from harness.report.loads import loads

STYLES = {
    "costs": "red",
    "saves": "green",
    "no difference": "blue",
    "valid": "green",
    "invalid": "red bold",
    "met": "green",
    "missed": "red bold",
}


def summary(findings: Findings, *, colour: bool | None = None, width: int | None = None) -> str:
    """What a run found, in one screen or two.

    Args:
        colour: Whether to colour; by default only where standard output is a terminal and NO_COLOR is unset.
        width: Columns; the terminal's by default, 120 elsewhere.
    """
    terminal = sys.stdout.isatty()
    colour = terminal and not os.environ.get("NO_COLOR") if colour is None else colour
    width = width or (shutil.get_terminal_size().columns if terminal else 120)
    out = io.StringIO()
    console = Console(
        file=out,
        force_terminal=colour,
        color_system="standard" if colour else None,
        width=width,
        highlight=False,
    )
    manifest = findings.run.manifest
    console.print(
        f"{manifest.run}: suite {manifest.suite['name']}, {manifest.status.value}, on {manifest.engine}"
    )
    if manifest.reason:
        console.print(Text(manifest.reason, style="red"))
    console.print(f"{tables.cells(findings)}; {findings.control.check.reason}")
    console.print(_overview(findings))
    if (scenarios := loads(findings, brief=True)).rows:
        console.print(_scenarios(scenarios))
    for each in findings.answer:
        console.print(Text.assemble((each.question, "bold"), *_spaced(each.verdicts)))
        console.print(Text(f"  {each.sentence}"), soft_wrap=False)
    for ruling in findings.gates:
        text = f" {ruling.text} on {ruling.configuration}: {ruling.because}"
        console.print(Text.assemble(_verdict(ruling.outcome), text))
    for cell in findings.cells:
        if cell.verdict.status.value != "valid":
            reason = cell.reasons[0] if cell.reasons else ""
            console.print(
                Text.assemble(_verdict(cell.verdict.status.value), f" {cell.stored.folder.name}: {reason}")
            )
    return out.getvalue().rstrip("\n")


def _overview(findings: Findings) -> Table:
    found = tables.overview(findings, short=True)
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, column in enumerate(found.columns):
        table.add_column(column, justify="left" if index < 2 else "right", no_wrap=index < 2)
    path = None
    for row in found.rows:
        table.add_row(row[0] if row[0] != path else "", *(cell.replace(" req/s", "/s") for cell in row[1:]))
        path = row[0]
    return table


def _scenarios(found: tables.Table) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, column in enumerate(found.columns):
        table.add_column(column, justify="left" if index < 3 else "right", overflow="fold")
    for row in found.rows:
        table.add_row(*row)
    return table


def _spaced(words: tuple[str, ...]) -> list[Text]:
    return [Text("  ").append_text(_verdict(word)) for word in words]


def _verdict(word: str) -> Text:
    return Text(f"{labels.SIGNS[word]} {word}", style=STYLES.get(word, ""))
