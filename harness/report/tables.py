"""The tables that page, terminal and markdown have in common. Cells are text, ready to show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.analysis.compare import Comparison
from harness.analysis.findings import Findings
from harness.analysis.measures import METRICS, metrics_of
from harness.analysis.proofs import ClockFigures
from harness.analysis.rounds import Measure
from harness.analysis.statistics import samples_needed
from harness.analysis.text import interval, quantity, times
from harness.plan.model import Configuration, Path
from harness.report import labels

DOES_NOT_EXIST = "does not exist"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A heading and rows of the same length."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def shown(measure: Measure | None, *, short: bool = False) -> str:
    """A metric's value as printed, or why there is none."""
    if measure is None:
        return DOES_NOT_EXIST
    unit = METRICS[measure.metric].unit
    if measure.estimate is None:
        return "none" if short else "no valid cell"
    if measure.shown is None:
        return f"n = {measure.n}" if short else f"{measure.n} of {samples_needed(0.5)} samples"
    text = quantity(measure.shown.centre, unit) if short else interval(measure.shown, unit)
    if not measure.at_least:
        return text
    return f"{'at most' if unit == 's' else 'at least'} {text}"


def overview(findings: Findings, *, short: bool = False) -> Table:
    """Path and configuration by cold, warm, new, later and throughput."""
    columns = ("first.cold", "first.warm", "first.new", "steady", "rate", "requests", "transfer")
    rows = []
    for configuration in labels.ordered(findings.configurations):
        existing = metrics_of(configuration)
        values = (
            shown(findings.measure(configuration, metric), short=short)
            if metric in existing
            else ("–" if short else DOES_NOT_EXIST)
            for metric in columns
        )
        rows.append((configuration.path.value, labels.configuration(configuration), *values))
    return Table(
        columns=(
            "path",
            "configuration",
            "first, cold",
            "first, warm",
            "first, new",
            "later",
            "fixed rate",
            "requests",
            "bulk",
        ),
        rows=tuple(rows),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Multiple:
    """How many times a later packet's time one kind of first packet takes."""

    state: str
    ratio: str
    interval: str
    first: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """One path in figures: through the mesh as the suite's default has it, and without."""

    path: str
    through: str
    multiples: tuple[Multiple, ...]
    later: str
    direct: str
    """First and later packets without the mesh, in words; empty where they were not measured."""


def headlines(findings: Findings) -> list[Headline]:
    """The paths in their order, those that the default's configuration covers."""
    found = []
    for configuration in labels.ordered(findings.configurations):
        if not _usual(configuration, findings.default):
            continue
        later = shown(findings.measure(configuration, "steady"))
        found.append(
            Headline(
                path=configuration.path.value,
                through=f"{configuration.dataplane}, {labels.configuration(configuration)}",
                multiples=tuple(_multiples(findings, configuration)),
                later=later,
                direct=_direct(findings, configuration.path),
            )
        )
    return found


def _multiples(findings: Findings, configuration: Configuration) -> Iterator[Multiple]:
    for each in findings.first_packet:
        if each.of.configuration != configuration.key:
            continue
        text = times(each.ratio) if each.ratio else "–"
        ratio, _, rest = text.partition(" (")
        yield Multiple(
            state=each.of.metric.removeprefix("first."),
            ratio=ratio,
            interval=rest.rstrip(")"),
            first=shown(findings.measures.get(each.of), short=True),
        )


def _direct(findings: Findings, path: Path) -> str:
    for configuration in findings.configurations:
        default = findings.default
        usual = (configuration.ip_family, configuration.rtt_ms) == (default.ip_family, default.rtt_ms)
        if configuration.path is path and configuration.dataplane == "none" and usual:
            first, later = (findings.measure(configuration, metric) for metric in ("first.new", "steady"))
            if first is not None and later is not None and first.shown and later.shown:
                return f"{shown(first, short=True)}, then {shown(later, short=True)}"
    return ""


def _usual(configuration: Configuration, default: Configuration) -> bool:
    return (
        configuration.dataplane == default.dataplane
        and configuration.interception is default.interception
        and configuration.reuse is default.reuse
        and configuration.same_node is default.same_node
        and not configuration.tuning
        and configuration.ip_family is default.ip_family
        and configuration.rtt_ms == default.rtt_ms
    )


def headline_table(findings: Findings) -> Table:
    """The headlines as a table."""
    rows = []
    for each in headlines(findings):
        first = " · ".join(f"{multiple.state} {multiple.first}" for multiple in each.multiples)
        ratios = " · ".join(
            f"{multiple.ratio} ({multiple.interval})" if multiple.interval else multiple.ratio
            for multiple in each.multiples
        )
        rows.append((each.path, first, each.later, ratios, each.direct or "not measured"))
    return Table(
        columns=("path", "first packet", "later packets", "first / later", "without the mesh"),
        rows=tuple(rows),
    )


def comparisons(found: Sequence[Comparison]) -> Table:
    """Comparisons with ratio, interval and verdict."""
    return Table(
        columns=(
            "path",
            "configuration",
            "metric",
            "compared",
            "ratio (interval)",
            "rounds",
            "verdict",
            "because",
        ),
        rows=tuple(
            (
                each.path,
                each.of.configuration,
                METRICS[each.of.metric].title,
                each.label,
                times(each.ratio) if each.ratio else "–",
                str(each.ratio.rounds) if each.ratio else "0",
                f"{labels.SIGNS[each.word.value]} {each.word.value}",
                each.because,
            )
            for each in found
        ),
    )


def gates(findings: Findings) -> Table:
    """The suite's thresholds and how they ended."""
    return Table(
        columns=("threshold", "configuration", "outcome", "found"),
        rows=tuple(
            (each.text, each.configuration, f"{labels.SIGNS[each.outcome]} {each.outcome}", each.because)
            for each in findings.gates
        ),
    )


def proofs(findings: Findings, *, rounds: bool) -> Table:
    """What the rounds proved beside their cells' counters: each of them, or all together per data plane."""
    return Table(
        columns=(
            "data plane",
            "round" if rounds else "rounds",
            "forbidden connection refused",
            "canary answered",
            "nonces in clear: control",
            "in tunnels",
            "in plaintext",
            "clocks apart, p50",
            "p90",
            "connect to SYN, p50",
            "SYN-ACK to connected, p50",
            "packet to first byte, p50",
            "stamps known within",
            "n",
        ),
        rows=tuple(
            (
                each.dataplane,
                str(each.round if rounds else each.rounds),
                f"{each.refused} of {each.refusals}" if each.refusals else "–",
                f"{each.answered} of {each.canaries}" if each.canaries else "–",
                str(each.nonces.control_hits),
                _part(each.nonces.tunnel_hits, each.nonces.tunnel_frames),
                _part(each.nonces.plain_hits, each.nonces.plain_frames),
                *_clock(each.clock),
            )
            for each in findings.proofs
            if bool(each.round) is rounds
        ),
    )


def _part(hits: int, frames: int) -> str:
    return f"{hits} of {frames} frames" if frames else "–"


def _clock(found: ClockFigures | None) -> tuple[str, ...]:
    if found is None:
        return ("–",) * 7
    times = (
        *(found.apart_p50, found.apart_p90, found.sent_p50, found.told_p50, found.answered_p50),
        found.mapping_error,
    )
    return (*("–" if time is None else quantity(time / 1e9, "s") for time in times), str(found.n))


def cells(findings: Findings) -> str:
    """How the cells ended, in one line."""
    counts = findings.counts()
    parts = [f"{counts['measured']} of {counts['planned']} cells measured", f"{counts['valid']} valid"]
    parts += [f"{counts[kind]} {kind}" for kind in ("invalid", "unknown")]
    parts += [f"{counts[kind]} {kind}" for kind in ("noisy", "disturbed", "limited") if counts[kind]]
    return ", ".join(parts)
