"""Whether a run that goes on has measured enough: asked at its looks, with intervals that pay for them."""

from __future__ import annotations

from harness.analysis.findings import Findings


def answered(findings: Findings) -> str:
    """Why no further round is needed: every question has a verdict. Empty while one is open."""
    still_open = sum(each.open for each in findings.answer)
    if still_open or not findings.answer:
        return ""
    return f"every question has a verdict after {_rounds(findings)} rounds"


def narrow(findings: Findings, width: float) -> str:
    """Why no further round is needed: the first packet's intervals are narrow enough. Empty while one is not.

    Args:
        width: How far an interval may reach to either side, as a share of the ratio.
    """
    ratios = [each.ratio for each in findings.first_packet if each.of.configuration == findings.default.key]
    reaches = [
        max(ratio.high / ratio.centre, ratio.centre / ratio.low) - 1
        for ratio in ratios
        if ratio is not None and ratio.low is not None and ratio.high is not None
    ]
    if not reaches or len(reaches) < len(ratios) or max(reaches) > width:
        return ""
    return f"intervals reach {max(reaches):.1%} to a side after {_rounds(findings)} rounds"


def _rounds(findings: Findings) -> int:
    return max(cell.stored.record.cell.round for cell in findings.cells)
