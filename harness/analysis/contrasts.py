"""Which sides are compared: configurations that differ in one factor, and metrics that answer each other.

A factor is read as on against off: conntrack on / off, reuse on / off, through the mesh / directly.
Where the two sides meet different states, the metrics differ too: with reuse a new connection is
warm, without it every one is cold, and that is what reuse does to the first packet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from harness.analysis.compare import Side
from harness.analysis.measures import CORE, COSTS, FIRST, METRICS, OPTIONAL, metrics_of
from harness.plan.model import (
    STREAMS_PER_TUNNEL,
    WINDOW_KIB,
    Configuration,
    Interception,
    Path,
    Reuse,
    SameNode,
    State,
)
from harness.topology.model import IpFamily

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """A factor: how to find the other configuration, and which first states answer each other."""

    name: str
    label: Callable[[Configuration], str]
    against: Callable[[Configuration], Configuration | None]
    """The configuration that this one is compared with; None where the factor does not apply."""


def _mesh(of: Configuration) -> Configuration | None:
    if of.dataplane == "none" or of.tuning:
        return None
    return Configuration(
        path=of.path,
        dataplane="none",
        interception=Interception.NONE,
        ip_family=of.ip_family,
        rtt_ms=of.rtt_ms,
    )


def _dataplane(of: Configuration) -> Configuration | None:
    return replace(of, dataplane="envoy") if of.dataplane == "pyztunnel" else None


def _conntrack(of: Configuration) -> Configuration | None:
    return (
        replace(of, interception=Interception.TPROXY_NOTRACK)
        if of.interception is Interception.TPROXY
        else None
    )


def _reuse(of: Configuration) -> Configuration | None:
    return replace(of, reuse=Reuse.OFF) if of.reuse is Reuse.ON and of.tunnelled else None


def _serialised(of: Configuration) -> Configuration | None:
    if of.reuse is not Reuse.OFF_SERIALISED or not of.tunnelled:
        return None
    return replace(of, reuse=Reuse.OFF)


def _interception(of: Configuration) -> Configuration | None:
    return replace(of, interception=Interception.TPROXY) if of.interception is Interception.REDIRECT else None


def _same_node(of: Configuration) -> Configuration | None:
    return replace(of, same_node=SameNode.HBONE) if of.same_node is SameNode.PLAINTEXT else None


def _filler(of: Configuration) -> Configuration | None:
    return replace(of, filler_rules=0) if of.filler_rules else None


def _streams(of: Configuration) -> Configuration | None:
    return replace(of, streams_per_tunnel=STREAMS_PER_TUNNEL)


def _window(of: Configuration) -> Configuration | None:
    return replace(of, window_kib=WINDOW_KIB)


def _policies(of: Configuration) -> Configuration | None:
    return replace(of, policies=0)


def _ip_family(of: Configuration) -> Configuration | None:
    return replace(of, ip_family=IpFamily.IPV4) if of.ip_family is IpFamily.IPV6 else None


def _into_mesh(of: Configuration) -> Configuration | None:
    return replace(of, path=Path.CROSS_NODE) if of.path is Path.INTO_MESH and of.dataplane != "none" else None


FACTORS = (
    Factor(name="mesh", label=lambda of: f"through {of.dataplane} / directly", against=_mesh),
    Factor(name="dataplane", label=lambda of: f"{of.dataplane} / envoy", against=_dataplane),
    Factor(name="conntrack", label=lambda _: "conntrack on / off", against=_conntrack),
    Factor(name="reuse", label=lambda _: "tunnel reuse on / off", against=_reuse),
    Factor(
        name="serialised",
        label=lambda _: "tunnels opened one after another / at once, without reuse",
        against=_serialised,
    ),
    Factor(name="interception", label=lambda _: "redirect / tproxy", against=_interception),
    Factor(name="same_node", label=lambda _: "same node in plaintext / in HBONE", against=_same_node),
    Factor(name="filler_rules", label=lambda of: f"{of.filler_rules:,} filler rules / none", against=_filler),
    Factor(
        name="streams_per_tunnel",
        label=lambda of: f"{of.streams_per_tunnel} streams a tunnel / {STREAMS_PER_TUNNEL}",
        against=_streams,
    ),
    Factor(
        name="window_kib",
        label=lambda of: f"windows of {of.window_kib:,} KiB / {WINDOW_KIB:,} KiB",
        against=_window,
    ),
    Factor(name="policies", label=lambda of: f"{of.policies:,} policies more / none", against=_policies),
    Factor(name="ip_family", label=lambda _: "over IPv6 / over IPv4", against=_ip_family),
    Factor(
        name="path", label=lambda _: "into the mesh in plaintext / cross-node in HBONE", against=_into_mesh
    ),
)


def first_against_later(configurations: Sequence[Configuration]) -> Iterator[Contrast]:
    """The first packet of a connection against the later ones of the same connections."""
    for of in configurations:
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
    known = set(configurations)
    for factor in FACTORS:
        for of in configurations:
            against = factor.against(of)
            if against is None or against == of or against not in known:
                continue
            for metric, other in _metric_pairs(of, against):
                yield Contrast(
                    factor=factor.name,
                    label=factor.label(of),
                    path=of.path,
                    of=Side(configuration=of.key, metric=metric),
                    against=Side(configuration=against.key, metric=other),
                )


def costs(configurations: Sequence[Configuration]) -> Iterator[Contrast]:
    """What processes used: every pair of configurations one factor apart, and first packets against later."""
    for of in configurations:
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
    """The A/A control: reuse on and off where there are no tunnels, hence no difference to find."""
    known = set(configurations)
    for of in configurations:
        twin = replace(of, reuse=Reuse.OFF)
        if of.dataplane != "none" and not of.tunnelled and of.reuse is Reuse.ON and twin in known:
            for metric in (name for name in metrics_of(of) if METRICS[name].compared):
                yield Contrast(
                    factor="control",
                    label="reuse on / off without tunnels (equal by construction)",
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
