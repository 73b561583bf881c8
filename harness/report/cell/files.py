"""What lies on disk of the cell, to be read with other tools."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.findings import Findings
from harness.analysis.judge import JudgedCell
from harness.report.cell._block import Block
from harness.results import layout

ORDER = 50


def blocks(findings: Findings, cell: JudgedCell) -> Iterator[Block]:
    """The cell's files, relative to its own folder: what is said of one cell fits most others."""
    del findings
    samples = (
        (layout.SAMPLES[stage][0], f"{rows:,} rows", ", ".join(layout.SAMPLES[stage][1]))
        for stage, rows in cell.stored.rows.items()
    )
    evidence = (
        (f"{layout.EVIDENCE}/{source}.json", "evidence", "") for source in sorted(cell.stored.evidence)
    )
    yield Block(
        question="What is kept of it?",
        reading=f"Below {layout.CELLS}/ in the run's folder, under the cell's name; `sha256sum -c "
        f"{layout.CHECKSUMS}` there holds the files against their checksums. Any tool that reads "
        "parquet reads the samples; times are nanoseconds of CLOCK_MONOTONIC.",
        columns=("file", "holds", "columns"),
        rows=(*samples, *evidence),
    )
