"""How sure a run is of its first answer."""

from __future__ import annotations

from harness.analysis.findings import Findings


def headline_width(findings: Findings) -> float | None:
    """How far the first packet's intervals reach, as a share of the ratio, the farthest of them.

    Of the default configuration's first packets against its later ones.

    Returns:
        None as long as one of them has no interval.
    """
    found = [each.ratio for each in findings.first_packet if each.of.configuration == findings.default.key]
    reaches = [
        max(ratio.high / ratio.median, ratio.median / ratio.low) - 1
        for ratio in found
        if ratio is not None and ratio.low is not None and ratio.high is not None
    ]
    return max(reaches) if reaches and len(reaches) == len(found) else None
