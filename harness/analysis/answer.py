"""The mission's question, answered: what the first packet costs, what conntrack and reuse cost or save."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from harness.analysis.compare import Comparison, Side, Word
from harness.analysis.measures import METRICS
from harness.analysis.rounds import Measure
from harness.analysis.rtt_model import RttModel, Slope
from harness.analysis.statistics import Estimate
from harness.analysis.text import quantity, significant, times
from harness.plan.model import Configuration, Path

ORDER = (Path.SAME_NODE, Path.CROSS_NODE, Path.OUT_OF_MESH, Path.INTO_MESH, Path.SERVICE)


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
    seen: str
    """What could have been seen, or what it takes to answer."""
    bound: bool
    """Whether the generator bounded it, so that no number of rounds can answer it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One question with its lines and what they come to."""

    question: str
    verdicts: tuple[str, ...]
    """What the lines came to, the commonest first."""
    sentence: str
    lines: tuple[Line, ...]

    @property
    def open(self) -> int:
        """How many of its lines have no verdict that more rounds might bring."""
        return sum(line.verdict == Word.OPEN and not line.bound for line in self.lines)

    def document(self) -> dict[str, Any]:
        """As saved."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked, and the comparisons that answer it."""

    text: str
    setting: str
    """What is held against what, to begin a sentence with."""
    comparisons: Sequence[Comparison]


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
        and not each.tuning
        and each.ip_family is default.ip_family
        and each.rtt_ms == default.rtt_ms
    }
    any_level = {
        each.key
        for each in configurations
        if each.reuse is default.reuse
        and each.same_node is default.same_node
        and not each.tuning
        and each.ip_family is default.ip_family
        and each.rtt_ms == default.rtt_ms
    }
    questions = (
        Question(
            text="What does the first packet cost?",
            setting="Against later packets of the same connection",
            comparisons=[each for each in first_packet if each.of.configuration in usual],
        ),
        Question(
            text="Does conntrack cost or save?",
            setting="With conntrack on against off",
            comparisons=_of(factors, "conntrack", any_level, {"steady", "requests"}),
        ),
        Question(
            text="Does reusing tunnels cost or save?",
            setting="With tunnel reuse against a tunnel per connection",
            comparisons=_of(factors, "reuse", usual, {"first.warm", "steady", "requests"}),
        ),
        Question(
            text="What does the mesh itself cost?",
            setting=f"Through {default.dataplane} against no mesh",
            comparisons=_of(factors, "mesh", usual, {"first.warm", "first.new", "steady", "requests"}),
        ),
        Question(
            text="How does it compare with Envoy?",
            setting=f"{default.dataplane} against Envoy",
            comparisons=_of(factors, "dataplane", usual, set(METRICS)),
        ),
    )
    return tuple(_answer(each, default.path, measures) for each in questions if each.comparisons)


def round_trips(model: RttModel) -> Answer:
    """How many round trips each kind of first packet pays, found by moving the nodes apart."""
    ordered = sorted(model.slopes, key=lambda each: ORDER.index(each.configuration.path))
    words = Counter(each.verdict for each in ordered)
    settled = [f"{name} {span}" for name, span in _trips_by_kind(ordered)]
    return Answer(
        question="How many round trips does the first packet take?",
        verdicts=tuple(word for word, _ in words.most_common()),
        sentence=f"Latency over the distance between the nodes, in round trips: {'; '.join(settled)}.",
        lines=tuple(
            Line(
                path=each.configuration.path.value,
                what=f"{_through(each.configuration)}, {METRICS[each.metric].title}",
                ratio=_trips(each.trips) if each.trips else "",
                values=f"{quantity(each.intercept_s, 's')} at no distance" if each.intercept_s else "",
                verdict=each.verdict,
                because=f"{each.expected} round trips expected, "
                + (f"{each.found} found" if each.found is not None else "the interval leaves others"),
                seen="",
                bound=False,
            )
            for each in ordered
        ),
    )


def _trips_by_kind(slopes: Sequence[Slope]) -> Iterator[tuple[str, str]]:
    """Path, data plane and state -> the number of trips, and the hull of the intervals of all levels."""
    kinds: dict[tuple[str, str, str], list[Slope]] = {}
    for each in slopes:
        through = "directly" if each.configuration.dataplane == "none" else each.configuration.dataplane
        kind = (each.configuration.path.value, through, METRICS[each.metric].title)
        kinds.setdefault(kind, []).append(each)
    for (path, through, title), alike in kinds.items():
        name = f"{path} {through}, {title}"
        settled = [each for each in alike if each.found is not None]
        numbers = " or ".join(dict.fromkeys(str(each.found) for each in settled))
        ends = [end for each in settled if each.trips for end in (each.trips.low, each.trips.high) if end]
        if not settled:
            yield name, "not settled"
            continue
        levels = f" at {len(settled)} of {len(alike)} levels of capture" if len(alike) > 1 else ""
        yield name, f"{numbers} ({min(ends):.2f} to {max(ends):.2f}){levels}"


def _through(configuration: Configuration) -> str:
    if configuration.dataplane == "none":
        return "directly"
    return f"{configuration.dataplane} by {configuration.interception.value}"


def _trips(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return f"{found.centre:.2f}"
    return f"{found.centre:.2f} ({found.low:.2f} to {found.high:.2f})"


def _of(
    factors: Sequence[Comparison], factor: str, configurations: set[str], metrics: set[str]
) -> list[Comparison]:
    return [
        each
        for each in factors
        if each.factor == factor and each.of.configuration in configurations and each.of.metric in metrics
    ]


def _answer(question: Question, path: Path, measures: Mapping[Side, Measure]) -> Answer:
    ordered = sorted(question.comparisons, key=lambda each: ORDER.index(Path(each.path)))
    words = Counter(each.word.value for each in ordered)
    return Answer(
        question=question.text,
        verdicts=tuple(word for word, _ in words.most_common()),
        sentence=_sentence(question.setting, ordered, path.value),
        lines=tuple(_line(each, measures) for each in ordered),
    )


def _line(comparison: Comparison, measures: Mapping[Side, Measure]) -> Line:
    of, against = (_value(measures.get(side)) for side in (comparison.of, comparison.against))
    return Line(
        path=comparison.path,
        what=METRICS[comparison.of.metric].title,
        ratio=bounded(comparison),
        values=f"{of} against {against}",
        verdict=comparison.word.value,
        because=comparison.because,
        seen=sight(comparison),
        bound=bool(comparison.bound),
    )


def bounded(comparison: Comparison) -> str:
    """A comparison's ratio with its interval, a bound's word before it; empty without one."""
    return f"{comparison.bound} {times(comparison.ratio)}".strip() if comparison.ratio else ""


def sight(comparison: Comparison) -> str:
    """How small a difference would have been found, and what an open question takes; empty where unknown."""
    if comparison.seen is None:
        return ""
    found = f"differences above {significant((comparison.seen - 1) * 100, 2)} % would have been found"
    if comparison.word is not Word.OPEN or comparison.bound:
        return found
    takes = f"about {comparison.needs:,} rounds" if comparison.needs else "more rounds than can be told"
    return f"{found}; to settle it takes {takes}"


def _value(measure: Measure | None) -> str:
    if measure is None or measure.estimate is None:
        return "not measured"
    metric = METRICS[measure.metric]
    text = quantity(measure.estimate.centre, metric.unit)
    bound = "at least " if metric.unit != "s" else "at most "
    return f"{bound}{text}" if measure.at_least else text


def _sentence(setting: str, found: Sequence[Comparison], path: str) -> str:
    """The default's path in figures, the others in a word each."""
    paths = list(dict.fromkeys(each.path for each in found))
    spoken = path if path in paths else paths[0]
    figures = "; ".join(_clause(each) for each in found if each.path == spoken)
    words = {each: [other.word.value for other in found if other.path == each] for each in paths}
    elsewhere = "; ".join(
        f"{other}: {', '.join(dict.fromkeys(words[other]))}" for other in paths if other != spoken
    )
    return f"{setting}, on {spoken}: {figures}." + (f" On {elsewhere}." if elsewhere else "")


def _clause(each: Comparison) -> str:
    """One comparison as part of a sentence: its figures always, the claim only where there is one."""
    metric = METRICS[each.of.metric]
    if each.ratio is None:
        return f"{metric.title}: {each.because}"
    ratio = bounded(each)
    if not each.ratio.has_interval:
        rounds = f"{each.ratio.rounds} round{'s' if each.ratio.rounds > 1 else ''}"
        return f"{metric.title} {ratio} from {rounds}, too few for an interval"
    if each.word is Word.OPEN:
        return f"{metric.title} {ratio}, which leaves it open ({sight(each)})"
    if each.word is Word.NO_DIFFERENCE:
        return f"{metric.title} {ratio}, no difference that matters ({sight(each)})"
    return f"{metric.title} {ratio}" + (" the time" if metric.lower_is_better else "")
