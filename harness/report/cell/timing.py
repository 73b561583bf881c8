"""Where the cell's own time went."""

from __future__ import annotations

from collections.abc import Iterator

from harness.analysis.findings import Findings
from harness.analysis.judge import JudgedCell
from harness.analysis.text import quantity
from harness.report.cell._block import Block

ORDER = 40


def blocks(findings: Findings, cell: JudgedCell) -> Iterator[Block]:
    """Stages as they were timed, and the whole."""
    del findings
    record = cell.stored.record
    whole = (record.ended.monotonic_ns - record.started.monotonic_ns) / 1e9
    steps = {name.removesuffix("_s").replace("_", " "): value for name, value in record.timing.items()}
    yield Block(
        question="Where did its time go?",
        reading="Switching to this configuration, reading evidence, and each stage of load.",
        columns=("step", "took"),
        rows=(
            *((name, quantity(value, "s")) for name, value in steps.items()),
            ("whole cell", quantity(whole, "s")),
        ),
    )
