"""What was held against what in this cell: every check with its figures, every remark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from harness.analysis.findings import Findings
from harness.analysis.judge import JudgedCell
from harness.analysis.text import significant
from harness.evidence.model import CheckStatus, Number
from harness.report import labels
from harness.report.cell._block import Block

ORDER = 20
FIRST = (CheckStatus.INVALID, CheckStatus.UNKNOWN, CheckStatus.VALID, CheckStatus.NOT_APPLICABLE)
"""What needs attention first."""

EXPECTED = " expected"
"""Behind the name of what was expected instead (`harness.evidence.laws.judge`)."""


def blocks(findings: Findings, cell: JudgedCell) -> Iterator[Block]:
    """The checks; the remarks where there are any."""
    del findings
    ordered = sorted(cell.verdict.checks, key=lambda check: FIRST.index(check.status))
    yield Block(
        question="What proves it?",
        reading="Valid, invalid with figures, unknown where evidence is missing, or not applicable.",
        columns=("check", "ended", "because", "figures"),
        rows=tuple((each.name, _tied(each.status), each.reason, told(each.numbers)) for each in ordered),
    )
    if cell.verdict.remarks:
        yield Block(
            question="Was it disturbed, or limited by its generator?",
            reading="A remark makes no cell invalid; a disturbed one enters no comparison all the same.",
            columns=("remark", "stage", "because", "figures"),
            rows=tuple(
                (each.kind.value, each.stage or "whole cell", each.reason, told(each.numbers))
                for each in cell.verdict.remarks
            ),
        )


def _tied(status: CheckStatus) -> str:
    """The word with its sign, which no line break parts from it."""
    return f"{labels.SIGNS[status]}\u00a0{status}"


def told(numbers: Mapping[str, Number]) -> str:
    """Figures in words; counts that are 0, as they had to be, are not told one by one."""
    zeros = {name for name, value in numbers.items() if not value and not _is_broken(name, numbers)}
    parts = [f"{name} {_number(value)}" for name, value in numbers.items() if name not in zeros]
    if zeros:
        parts.append("others: 0" if parts else "all: 0")
    return ", ".join(parts)


def _is_broken(name: str, numbers: Mapping[str, Number]) -> bool:
    """Whether a number belongs to a law that does not hold: only then is there what was expected."""
    return name.endswith(EXPECTED) or name + EXPECTED in numbers


def _number(value: Number) -> str:
    return f"{value:,}" if isinstance(value, int) else significant(value, 4)
