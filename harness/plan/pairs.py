"""Which configurations are one factor apart: what a comparison holds against what.

A factor is read as on against off: conntrack on / off, reuse on / off, through the mesh / directly. The plan
measures both sides of such a pair in one bout; the analysis compares them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from harness.plan.model import (
    STREAMS_PER_TUNNEL,
    WINDOW_KIB,
    Configuration,
    Interception,
    Path,
    Reuse,
    SameNode,
)
from harness.topology.model import IpFamily


@dataclass(frozen=True, slots=True, kw_only=True)
class Factor:
    """A factor: how to find the configuration on its other side."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two configurations that one factor tells apart."""

    factor: Factor
    of: Configuration
    against: Configuration

    @property
    def label(self) -> str:
        """What is compared with what, in words: `conntrack on / off`."""
        return self.factor.label(self.of)


def pairs(configurations: Sequence[Configuration]) -> Iterator[Pair]:
    """Every two of these that one factor tells apart, factor by factor."""
    known = {each for each in configurations if not each.twin}
    for factor in FACTORS:
        for of in (each for each in configurations if not each.twin):
            against = factor.against(of)
            if against is not None and against != of and against in known:
                yield Pair(factor=factor, of=of, against=against)
