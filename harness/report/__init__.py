"""Findings as people read them: one page, one terminal, one markdown file, the same figures in each.

labels: names of configurations, paths and metrics as shown. tables: the tables that all three show.
figures: one file per figure, each with its table twin. page: the self-contained HTML file.
matrix, cell: every cell of the run, and what opens when one is chosen: one file per block.
terminal, markdown: the short form. changes: runs held against each other. trend: runs over time.
ci: JUnit, annotations, a cap. exports: other tools' formats. html: what all pages are made with.
No function here computes a result: that is `harness.analysis`.
"""

from __future__ import annotations

import json
from pathlib import Path

from harness.analysis.findings import Findings
from harness.report.markdown import markdown
from harness.report.page import render
from harness.report.terminal import summary
from harness.results import layout
from harness.results.atomic import write_file

__all__ = ["save", "summary"]


def save(findings: Findings, folder: Path) -> Path:
    """Write findings, page and markdown summary into a run's folder.

    Returns:
        The page's path.

    Raises:
        Unwritable: One of them cannot be written; what was there before still is.
    """
    document = json.dumps(findings.document(), indent=1, allow_nan=False)
    write_file(folder / layout.FINDINGS, document.encode() + b"\n")
    write_file(folder / layout.SUMMARY, markdown(findings).encode())
    write_file(folder / layout.REPORT, render(findings).encode())
    return folder / layout.REPORT
