"""What the cell's packets met, from the counters around it, beside the same counters over all rounds."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis import ledger
from harness.analysis.findings import Findings
from harness.analysis.judge import JudgedCell
from harness.analysis.text import significant
from harness.report.cell._block import Block

ORDER = 30


def blocks(findings: Findings, cell: JudgedCell) -> Iterator[Block]:
    """One block; none where no source of evidence says anything."""
    own = ledger.of_cell(cell)
    over_rounds = findings.ledgers.get(cell.configuration.key)
    rows = tuple(
        (
            row.title,
            significant(own.figures[row.name]),
            f"{own.totals[row.of]:,.0f} / {own.totals[row.per]:,.0f}",
            significant(over_rounds.figures[row.name])
            if over_rounds and row.name in over_rounds.figures
            else "",
        )
        for row in ledger.ROWS
        if row.name in own.figures
    )
    if rows:
        yield Block(
            question="What did its packets meet?",
            reading="Counters of the kernel and the proxies, read before and after the cell. The last column "
            "is of all valid cells of its configuration.",
            columns=("figure", "in this cell", "counted", "over all rounds"),
            rows=rows,
        )
