"""Every cell of a run as a matrix of configurations and rounds, and what opens when one is chosen.

The document holds each text once and refers to it by its number: cells of one configuration say mostly the
same, so a thousand of them take about a megabyte.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.analysis.findings import Findings
from harness.analysis.judge import JudgedCell
from harness.analysis.measures import METRICS
from harness.analysis.text import quantity
from harness.plan.model import Configuration
from harness.report import labels
from harness.report.cell import SHARES, Block, blocks

FIRST_SHOWN = "steady"
"""Later packets exist in every configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Square:
    """One round of one configuration."""

    index: int
    """Of the cell in the document; meaningless where `sign` is empty."""
    sign: str
    """Of the cell's verdict; empty where it was not measured."""
    word: str
    text: str
    shade: int
    """How far it is from its configuration's median over rounds, as in `shade`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One configuration."""

    path: str
    configuration: str
    squares: tuple[Square, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Matrix:
    """Configurations by rounds."""

    rounds: tuple[int, ...]
    metrics: tuple[tuple[str, str], ...]
    """Name and title of each metric that can be shown in it."""
    shown: str
    rows: tuple[Row, ...]


def matrix(findings: Findings) -> Matrix:
    """The last measurement of every cell."""
    last = _last(findings)
    numbers = {id(cell): number for number, cell in enumerate(last)}
    found = {(cell.configuration, cell.stored.record.cell.round): cell for cell in last}
    metrics = _metrics(findings)
    shown = FIRST_SHOWN if FIRST_SHOWN in metrics else next(iter(metrics), "")
    rounds = tuple(range(1, findings.run.plan.rounds + 1))

    def squares(configuration: Configuration) -> Iterator[Square]:
        for number in rounds:
            cell = found.get((configuration, number))
            if cell is None:
                yield Square(index=-1, sign="", word="not measured", text="", shade=0)
                continue
            word = _word(cell)
            text, away = _value(findings, cell, shown)
            yield Square(index=numbers[id(cell)], sign=_sign(cell), word=word, text=text, shade=away)

    return Matrix(
        rounds=rounds,
        metrics=tuple((name, METRICS[name].title) for name in metrics),
        shown=shown,
        rows=tuple(
            Row(
                path=configuration.path.value,
                configuration=labels.configuration(configuration),
                squares=tuple(squares(configuration)),
            )
            for configuration in labels.ordered(findings.configurations)
        ),
    )


def document(findings: Findings) -> dict[str, Any]:
    """What the page's script shows of each cell, every text by its number."""
    words: dict[str, int] = {}

    def said(text: str) -> int:
        return words.setdefault(text, len(words))

    metrics = _metrics(findings)
    cells = [
        {
            "name": said(cell.stored.folder.name),
            "path": said(cell.configuration.path.value),
            "configuration": said(labels.configuration(cell.configuration)),
            "round": cell.stored.record.cell.round,
            "sign": said(_sign(cell)),
            "word": said(_word(cell)),
            "kind": said(cell.verdict.status.value),
            "values": [
                [said(text), away] for text, away in (_value(findings, cell, metric) for metric in metrics)
            ],
            "blocks": [_block(block, said) for block in blocks(findings, cell)],
        }
        for cell in _last(findings)
    ]
    return {"words": list(words), "metrics": metrics, "shares": SHARES, "cells": cells}


def shade(value: float, usual: float) -> int:
    """0 within 5 % of what is usual, else 1 to 3 for up to 10 %, 25 % and beyond; negative below it.

    What costs nothing that can be measured may come to 0 or less, which is any number of times off.
    """
    if value <= 0 or usual <= 0:
        return 3 * ((value > usual) - (value < usual))
    away = math.log(value / usual)
    steps = sum(abs(away) > math.log(1 + share) for share in (0.05, 0.10, 0.25))
    return steps if away > 0 else -steps


def _last(findings: Findings) -> list[JudgedCell]:
    return list(findings.cells)


def _metrics(findings: Findings) -> list[str]:
    measured = {metric for cell in findings.cells for metric in cell.measured}
    return [name for name in METRICS if name in measured]


def _word(cell: JudgedCell) -> str:
    verdict = cell.verdict
    remarks = {"noisy": verdict.noisy, "disturbed": verdict.disturbed, "limited": verdict.limited}
    return ", ".join([verdict.status.value, *(word for word, made in remarks.items() if made)])


def _sign(cell: JudgedCell) -> str:
    return "~" if cell.verdict.disturbed else labels.SIGNS[cell.verdict.status.value]


def _value(findings: Findings, cell: JudgedCell, metric: str) -> tuple[str, int]:
    """A cell's value as printed, and how far it is from its configuration's usual one."""
    measured = cell.measured.get(metric)
    if measured is None:
        return "–", 0
    over_rounds = findings.measure(cell.configuration, metric)
    usual = over_rounds.estimate.centre if over_rounds and over_rounds.estimate else measured.value
    return quantity(measured.value, METRICS[metric].unit), shade(measured.value, usual)


def _block(block: Block, said: Callable[[str], int]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "question": said(block.question),
        "reading": said(block.reading),
        "columns": list(map(said, block.columns)),
        "rows": [list(map(said, row)) for row in block.rows],
    }
    if block.curves:
        found["axis"] = said(block.axis)
        found["curves"] = [
            [said(each.name), said(each.colour), said(each.dash), each.values] for each in block.curves
        ]
    return found
