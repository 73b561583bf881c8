"""The mission's question, answered: what the first packet costs, what conntrack and reuse cost or save."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.analysis.compare import Comparison, Side
from harness.analysis.measures import METRICS
from harness.analysis.rounds import Measure
from harness.analysis.text import quantity, times
from harness.plan.model import Configuration, Path

ORDER = (Path.SAME_NODE, Path.CROSS_NODE, Path.OUT_OF_MESH, Path.INTO_MESH)
MIXED = "depends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One comparison of an answer."""

    path: str
    what: str
    """What is compared, in a few words."""
    ratio: str
    """`3.42 × (3.31 to 3.60)`; empty without one."""
    values: str
    """Both sides with their units: `2.05 ms against 0.612 ms`."""
    verdict: str
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One question with its lines and what they come to."""

    question: str
    verdict: str
    """The lines' common verdict, or `depends`."""
    sentence: str
    lines: tuple[Line, ...]

    def document(self) -> dict[str, Any]:
        """As saved."""
        return asdict(self)


def answer(
    configurations: Sequence[Configuration],
    default: Configuration,
    first_packet: Sequence[Comparison],
    factors: Sequence[Comparison],
    measures: Mapping[Side, Measure],
) -> tuple[Answer, ...]:
    """The report's first sentences.

    Questions that hold for several interception levels are answered at the default's level.
    """
    usual = {
        each.key
        for each in configurations
        if each.dataplane == default.dataplane
        and each.interception is default.interception
        and each.reuse is default.reuse
        and each.same_node is default.same_node
        and not each.filler_rules
    }
    any_level = {
        each.key
        for each in configurations
        if each.reuse is default.reuse and each.same_node is default.same_node and not each.filler_rules
    }
    questions = (
        (
            "What does a connection's first packet cost against later ones?",
            [each for each in first_packet if each.of.configuration in usual],
        ),
        (
            "Does conntrack cost or save?",
            [
                each
                for each in factors
                if each.factor == "conntrack"
                and each.of.configuration in any_level
                and each.of.metric in {"steady", "requests"}
            ],
        ),
        (
            "Does reusing tunnels cost or save?",
            [
                each
                for each in factors
                if each.factor == "reuse"
                and each.of.configuration in usual
                and each.of.metric in {"first.warm", "steady", "requests"}
            ],
        ),
        (
            "What does the mesh itself cost, against no mesh?",
            [
                each
                for each in factors
                if each.factor == "mesh"
                and each.of.configuration in usual
                and each.of.metric in {"first.warm", "first.new", "steady", "requests"}
            ],
        ),
    )
    return tuple(_answer(question, found, default.path, measures) for question, found in questions if found)


def _answer(
    question: str, found: Iterable[Comparison], path: Path, measures: Mapping[Side, Measure]
) -> Answer:
    ordered = sorted(found, key=lambda each: ORDER.index(Path(each.path)))
    lines = tuple(_line(each, measures) for each in ordered)
    words = {line.verdict for line in lines}
    return Answer(
        question=question,
        verdict=words.pop() if len(words) == 1 else MIXED,
        sentence=_sentence(lines, path.value),
        lines=lines,
    )


def _line(comparison: Comparison, measures: Mapping[Side, Measure]) -> Line:
    of, against = (_value(measures.get(side)) for side in (comparison.of, comparison.against))
    return Line(
        path=comparison.path,
        what=comparison.label if comparison.factor == "first-packet" else METRICS[comparison.of.metric].title,
        ratio=times(comparison.ratio) if comparison.ratio else "",
        values=f"{of} against {against}",
        verdict=comparison.word.value,
        because=comparison.because,
    )


def _value(measure: Measure | None) -> str:
    if measure is None or measure.estimate is None:
        return "not measured"
    metric = METRICS[measure.metric]
    text = quantity(measure.estimate.median, metric.unit)
    bound = "at least " if metric.unit != "s" else "at most "
    return f"{bound}{text}" if measure.at_least else text


def _sentence(lines: Sequence[Line], path: str) -> str:
    """The default's path in figures, the others in a word each."""
    paths = list(dict.fromkeys(line.path for line in lines))
    spoken = path if path in paths else paths[0]
    figures = [
        f"{line.what}: {line.verdict}" + (f", {line.ratio}" if line.ratio else "")
        for line in lines
        if line.path == spoken
    ]
    elsewhere = [
        f"{other}: " + ", ".join(dict.fromkeys(line.verdict for line in lines if line.path == other))
        for other in paths
        if other != spoken
    ]
    return f"On {spoken}, {'; '.join(figures)}." + (f" On {'; on '.join(elsewhere)}." if elsewhere else "")
