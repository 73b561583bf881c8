"""What tuning changes: streams per tunnel, windows, the number of policies."""

from __future__ import annotations

from harness.analysis.findings import Findings
from harness.report.figures._figure import Figure
from harness.report.figures._forest import forest

ORDER = 47

QUESTIONS = {
    "policies": (
        "What do many authorization policies cost?",
        "with more policies / without",
        "None of them matches; each connection into the mesh is judged once, later packets never.",
    ),
    "streams_per_tunnel": (
        "Does it matter how many connections share a tunnel?",
        "fewer streams per tunnel / ztunnel's 100",
        (
            "With one stream per tunnel, connections that live at the same time have a tunnel each; a tunnel "
            "whose connection has ended is used again."
        ),
    ),
    "window_kib": (
        "Do HTTP/2 windows matter?",
        "another window / ztunnel's 4 MiB",
        "A stream may have as many bytes under way as its window; the tunnel's is four times as large.",
    ),
}


def figures(findings: Findings) -> list[Figure]:
    """One forest per factor that was varied: latency and throughput, then CPU and context switches."""
    return [
        figure
        for factor, (question, ratio_of, reading) in QUESTIONS.items()
        for figure in forest(
            findings,
            [each for each in (*findings.factors, *findings.costs) if each.factor == factor],
            name=factor.replace("_", "-"),
            section="factors",
            question=question,
            ratio_of=ratio_of,
            reading=reading,
        )
    ]
