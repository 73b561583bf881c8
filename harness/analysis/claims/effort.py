"""The claim about what processes spend on a packet. Judged on paired rounds of their own counts."""

from __future__ import annotations

from harness.analysis.claims.model import Grounds, Ruling, Verdict, extremes, not_measured, ratios
from harness.analysis.compare import Word


def later_lighter(grounds: Grounds) -> Ruling:
    """Context switches and CPU time of the proxies: the first packet of a connection against later ones."""
    found = {
        kind: [
            each
            for each in grounds.costs
            if each.factor == "first-packet"
            and each.of.metric.startswith(f"{kind}.")
            and each.word is not Word.OPEN
        ]
        for kind in ("switches", "cpu")
    }
    if not found["switches"]:
        return not_measured("no rounds enough to compare the context switches of first and later packets")
    figures = [line for kind in found.values() for line in ratios(extremes(kind))]
    if not all(each.word is Word.COSTS for each in found["switches"]):
        return Ruling(
            verdict=Verdict.DOES_NOT,
            because="later packets do not take fewer context switches everywhere",
            figures=tuple(figures),
        )
    copies = "copies are not counted apart; a copy costs CPU time, "
    if found["cpu"] and all(each.word is Word.COSTS for each in found["cpu"]):
        return Ruling(
            verdict=Verdict.HOLDS,
            because="a later packet takes fewer context switches of the proxies than the first, and less of "
            f"their CPU time ({copies}so the second is the bound on them)",
            figures=tuple(figures),
        )
    return Ruling(
        verdict=Verdict.HOLDS_IF,
        because=f"it is read as context switches; {copies}of which this run does not say the same",
        figures=tuple(figures),
    )
