"""The large run's generator makes what it says, and the page stays small."""

from __future__ import annotations

from pathlib import Path

from harness.analysis.findings import analyse
from harness.report import save
from harness.results.read import read
from harness.tests.ten_million import generate


def test_a_page_does_not_grow_with_its_samples(tmp_path: Path) -> None:
    """F75."""
    findings = analyse(read(generate(tmp_path, 400_000)))

    assert sum(sum(cell.stored.rows.values()) for cell in findings.cells) >= 400_000
    assert save(findings, findings.run.folder).stat().st_size < 8e6
