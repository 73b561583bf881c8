"""What a claim is judged on, and the words of its verdict."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Self

from harness.analysis.breakeven import BreakEven
from harness.analysis.compare import Comparison, Side
from harness.analysis.ledger import Ledger
from harness.analysis.measures import METRICS
from harness.analysis.rounds import Measure
from harness.analysis.rtt_model import RttModel
from harness.analysis.text import significant, times
from harness.analysis.waterfall import Waterfall
from harness.plan.model import Configuration, tuned


class Verdict(StrEnum):
    """What a run says of a claim."""

    HOLDS = "holds"
    HOLDS_IF = "holds if"
    DOES_NOT = "does not hold"
    NOT_MEASURED = "not measured in this run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """What one claim's test returned."""

    verdict: Verdict
    because: str
    figures: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A claim with its ruling."""

    number: int
    text: str
    verdict: str
    because: str
    """With `holds if`: the condition."""
    figures: tuple[str, ...]

    def document(self) -> dict[str, Any]:
        """As saved."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grounds:
    """What claims are judged on."""

    configurations: Sequence[Configuration]
    ledgers: Mapping[str, Ledger]
    """Configuration's key -> its evidence in figures, of its valid cells."""
    without: Callable[[str], Mapping[str, Ledger]]
    """A check's name -> the same of cells that hold but for it: for a claim that says what it checks."""
    measures: Mapping[Side, Measure]
    first_packet: Sequence[Comparison]
    factors: Sequence[Comparison]
    costs: Sequence[Comparison]
    """What processes used: the same factors, and first packets against later ones."""
    break_even: BreakEven | None
    waterfalls: Sequence[Waterfall] = ()
    rtt_model: RttModel | None = None

    def but(self, check: str) -> Self:
        """The same with evidence of cells that may fail that check."""
        return replace(self, ledgers=self.without(check))

    def of(self, **factors: object) -> list[Ledger]:
        """Ledgers of captured configurations with those factors."""
        return [
            ledger
            for ledger in self.ledgers.values()
            if ledger.configuration.dataplane != "none"
            and all(getattr(ledger.configuration, name) == value for name, value in factors.items())
        ]

    def round_trips(self, metric: str, *, conntrack: bool | None = None) -> set[int]:
        """Numbers of round trips that a metric was found to take through the mesh, on any path."""
        slopes = self.rtt_model.settled(metric) if self.rtt_model else []
        return {
            each.found
            for each in slopes
            if each.found is not None
            and each.configuration.dataplane != "none"
            and conntrack in {None, each.configuration.interception.conntrack}
        }

    def comparisons(self, factor: str, metric: str) -> list[Comparison]:
        """Comparisons of a factor by a metric that came to a verdict, tuned configurations left out."""
        return [
            each
            for each in self.factors
            if each.factor == factor and each.of.metric == metric and not tuned(each.of.configuration)
        ]


def not_measured(what: str) -> Ruling:
    return Ruling(verdict=Verdict.NOT_MEASURED, because=what)


def extent(ledgers: Iterable[Ledger], figure: str) -> tuple[float, float] | None:
    values = [ledger.figures[figure] for ledger in ledgers if figure in ledger.figures]
    return (min(values), max(values)) if values else None


def span(found: tuple[float, float]) -> str:
    low, high = (significant(value) for value in found)
    return low if low == high else f"{low} to {high}"


def exactly(found: tuple[float, float] | None, expected: float) -> bool:
    return found is not None and abs(found[0] - expected) < 0.01 and abs(found[1] - expected) < 0.01


def ratios(comparisons: Iterable[Comparison]) -> list[str]:
    return [
        f"{each.of.configuration}: {METRICS[each.of.metric].title}, {each.label}: "
        f"{times(each.ratio)}, {each.word.value}"
        for each in comparisons
        if each.ratio is not None
    ]


def trips(metric: str, found: set[int], where: str = "") -> list[str]:
    """A metric's round trips in words; nothing where they are not known."""
    counts = " or ".join(map(str, sorted(found)))
    return [f"{METRICS[metric].title}{where}: {counts} round trips over distance"] if found else []


def extremes(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """The least and the greatest ratio: a table of claims is no place for all of them."""
    ordered = sorted(
        (each for each in comparisons if each.ratio), key=lambda each: each.ratio.centre if each.ratio else 0
    )
    return [ordered[0], ordered[-1]] if len(ordered) > 1 else ordered


def verdicts(comparisons: Sequence[Comparison]) -> str:
    return ", ".join(dict.fromkeys(each.word.value for each in comparisons))
