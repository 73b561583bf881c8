"""Which sides are compared: configurations that differ in one factor, and metrics that answer each other.

A factor is read as on against off: conntrack on / off, reuse on / off, through the mesh / directly.
Where the two sides meet different states, the metrics differ too: with reuse a new connection is
warm, without it every one is cold, and that is what reuse does to the first packet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from harness.analysis.compare import Side
from harness.analysis.measures import CORE, COSTS, FIRST, METRICS, OPTIONAL, metrics_of
from harness.plan.model import Configuration, Path, State
from harness.plan.pairs import pairs

ALIKE = (*CORE, *(name for name in OPTIONAL if METRICS[name].compared))
"""Metrics that every configuration has, and by which they are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """Two sides to be compared."""

    factor: str
    label: str
    path: Path
    of: Side
    against: Side


def first_against_later(configurations: Sequence[Configuration]) -> Iterator[Contrast]:
    """The first packet of a connection against the later ones of the same connections."""
    for of in (each for each in configurations if not each.twin):
        for state in of.states:
            if state in FIRST:
                yield Contrast(
                    factor="first-packet",
                    label=f"first packet ({state.value}) / later ones",
                    path=of.path,
                    of=Side(configuration=of.key, metric=FIRST[state]),
                    against=Side(configuration=of.key, metric="steady"),
                )


def one_factor_apart(configurations: Sequence[Configuration]) -> Iterator[Contrast]:
    """Every pair of configurations that differ in one factor, metric by metric."""
    for pair in pairs(configurations):
        for metric, other in _metric_pairs(pair.of, pair.against):
            yield Contrast(
                factor=pair.factor.name,
                label=pair.label,
                path=pair.of.path,
                of=Side(configuration=pair.of.key, metric=metric),
                against=Side(configuration=pair.against.key, metric=other),
            )


def costs(configurations: Sequence[Configuration]) -> Iterator[Contrast]:
    """What processes used: every pair of configurations one factor apart, and first packets against later."""
    for of in (each for each in configurations if not each.twin):
        for kind in ("cpu", "switches"):
            for state in (each for each in of.states if each in FIRST):
                yield Contrast(
                    factor="first-packet",
                    label=f"first packet ({state.value}) / later ones",
                    path=of.path,
                    of=Side(configuration=of.key, metric=f"{kind}.{FIRST[state]}"),
                    against=Side(configuration=of.key, metric=f"{kind}.later"),
                )
    for found in one_factor_apart(configurations):
        if found.of.metric in FIRST.values():
            for kind in ("cpu", "switches"):
                yield replace(
                    found,
                    of=replace(found.of, metric=f"{kind}.{found.of.metric}"),
                    against=replace(found.against, metric=f"{kind}.{found.against.metric}"),
                )
        elif found.of.metric == "steady":
            for metric in COSTS:
                if ".first." not in metric:
                    yield replace(
                        found,
                        of=replace(found.of, metric=metric),
                        against=replace(found.against, metric=metric),
                    )


def equal_pairs(configurations: Sequence[Configuration]) -> Iterator[Contrast]:
    """The A/A control: each twin against what it is the twin of, hence no difference to find."""
    for twin in configurations:
        if not twin.twin:
            continue
        of = replace(twin, twin=False)
        for metric in (name for name in metrics_of(of) if METRICS[name].compared):
            yield Contrast(
                factor="control",
                label="two lanes that carry the same",
                path=of.path,
                of=Side(configuration=of.key, metric=metric),
                against=Side(configuration=twin.key, metric=metric),
            )


def cold_pairs(configurations: Sequence[Configuration]) -> Iterator[Contrast]:
    """Cold with reuse on against cold with reuse off: the same work, so they must agree."""
    for contrast in one_factor_apart(configurations):
        if contrast.factor == "reuse" and contrast.of.metric == "first.warm":
            yield replace(
                contrast,
                factor="cold-agreement",
                label="cold with reuse on / cold with reuse off",
                of=Side(configuration=contrast.of.configuration, metric="first.cold"),
            )


def _metric_pairs(of: Configuration, against: Configuration) -> Iterator[tuple[str, str]]:
    """Metrics of one side with the metric of the other that answers it."""
    mine = [state for state in of.states if state in FIRST]
    theirs = [state for state in against.states if state in FIRST]
    if mine == theirs:
        pairs = [(state, state) for state in mine]
    elif theirs == [State.COLD]:  # without reuse every new connection is cold; with it, warm
        pairs = [(State.WARM, State.COLD)]
    else:  # one side has no tunnels: its new connections against each kind of the other's
        pairs = [(one, other) for one in mine for other in theirs]
    yield from ((FIRST[one], FIRST[other]) for one, other in pairs)
    yield from ((metric, metric) for metric in ALIKE)
