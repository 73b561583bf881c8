"""Sums over connections with the same labels, under ztunnel's names. What is not known is `unknown`.

Source: ztunnel src/proxy/metrics.rs, CommonTrafficLabels.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from functools import lru_cache

from proxy.identity.spiffe import SpiffeId
from proxy.state.model import Workload
from proxy.telemetry.record import Claims, ConnectionRecord, Direction, Flag

_END = (
    "workload",
    "canonical_service",
    "canonical_revision",
    "workload_namespace",
    "principal",
    "app",
    "version",
    "cluster",
)
_SERVICE = ("destination_service", "destination_service_namespace", "destination_service_name")
FLAG = "response_flags"
NAMES = (
    "reporter",
    *(f"source_{name}" for name in _END),
    *_SERVICE,
    *(f"destination_{name}" for name in _END),
    "request_protocol",
    "connection_security_policy",
    *("source_region", "source_zone", "destination_region", "destination_zone"),
)
"""Labels of a connection from its beginning to its end; `FLAG` is known at the end."""

UNKNOWN = "unknown"
Labels = tuple[str, ...]
NOBODY: Labels = (UNKNOWN,) * len(_END)
NOWHERE: Labels = (UNKNOWN, UNKNOWN)


def reporter(direction: Direction) -> str:
    """Which end of the connection this proxy speaks for."""
    return "source" if direction is Direction.OUTBOUND else "destination"


def labels(record: ConnectionRecord) -> Labels:
    """Values for `NAMES`."""
    service, source, destination = record.service, record.source, record.destination
    proven = record.source_identity if record.mutual_tls else None
    if source is not None:
        source_end, source_place = _end(source, proven)
    elif record.claims is not None:
        source_end, source_place = _claimed(record.claims, proven)
    else:
        source_end, source_place = _unknown(proven), NOWHERE
    if destination is not None:
        # Without a service account it has none.
        expected = destination.identity if destination.service_account else None
        destination_end, destination_place = _end(destination, expected)
    else:
        destination_end, destination_place = NOBODY, NOWHERE
    return (
        reporter(record.direction),
        *source_end,
        *(
            (service.hostname, service.namespace, service.name)
            if service is not None
            else (UNKNOWN, UNKNOWN, UNKNOWN)
        ),
        *destination_end,
        "tcp",
        "mutual_tls" if record.mutual_tls else UNKNOWN,
        *source_place,
        *destination_place,
    )


def without_claims(given: Labels) -> Labels:
    """The same without what the peer wrote itself: of its end, only what TLS proved."""
    kept = {"source_principal", "source_workload_namespace"}
    return tuple(
        UNKNOWN if name.startswith("source_") and name not in kept else value
        for name, value in zip(NAMES, given, strict=True)
    )


@lru_cache(maxsize=4096)
def _end(workload: Workload, identity: SpiffeId | None) -> tuple[Labels, Labels]:
    """An end's values for `_END`, and its region and zone."""
    service = workload.canonical_name or UNKNOWN
    revision = workload.canonical_revision or UNKNOWN
    place = workload.locality
    return (
        workload.workload_name or UNKNOWN,
        service,
        revision,
        workload.namespace or UNKNOWN,
        str(identity) if identity is not None else UNKNOWN,
        service,
        revision,
        workload.cluster or UNKNOWN,
    ), (place.region or UNKNOWN, place.zone or UNKNOWN)


@lru_cache(maxsize=1024)
def _claimed(claims: Claims, identity: SpiffeId | None) -> tuple[Labels, Labels]:
    """As `_end`, of a source that the mesh does not know. What TLS proved is not overruled by a claim."""
    named = claims.workload_name or UNKNOWN
    revision = claims.canonical_revision or UNKNOWN
    return (
        named,
        claims.canonical_name or UNKNOWN,
        revision,
        identity.namespace if identity is not None else claims.namespace or UNKNOWN,
        str(identity) if identity is not None else UNKNOWN,
        named,  # not the canonical name: as ztunnel has it
        revision,
        claims.cluster or UNKNOWN,
    ), (claims.region or UNKNOWN, claims.zone or UNKNOWN)


def _unknown(identity: SpiffeId | None) -> Labels:
    if identity is None:
        return NOBODY
    return (UNKNOWN, UNKNOWN, UNKNOWN, identity.namespace, str(identity), UNKNOWN, UNKNOWN, UNKNOWN)


@dataclass(slots=True, eq=False)
class Traffic:
    """Sums over the connections with the same labels."""

    labels: Labels
    claimed: bool = False
    """Whether a peer wrote some of the labels."""
    opened: int = 0
    ended: int = 0
    """Without a flag."""
    failed: Counter[Flag] = field(default_factory=Counter)
    """The others that are over."""
    bytes_sent: int = 0
    bytes_received: int = 0
    written: str = ""
    """The labels as a scrape has them, kept from the first one on."""

    @property
    def live(self) -> int:
        """Connections that are counted here and not over."""
        return self.opened - self.ended - self.failed.total()


class Table:
    """Every kind of traffic there was, in the order of last use; as many as there is room for.

    Pods come and go, and peers choose some labels. Where there is no more room the series that was longest
    without a connection goes: for Prometheus it ends, and begins at 0 if it is ever used again. Where all
    are in use, or peers' own words fill their share, the rest is summed with those words unknown.
    """

    ROOM = 10_000
    CLAIMED_ROOM = 1_000
    """Of these, with labels that peers wrote themselves."""
    LOOKS = 16
    """How many are looked at for one that can go: whoever has just been used is at the other end."""

    def __init__(self) -> None:
        self._all: OrderedDict[Labels, Traffic] = OrderedDict()
        self._claimed = 0

    def __len__(self) -> int:
        return len(self._all)

    def all(self) -> list[Traffic]:
        """Those there are."""
        return list(dict.values(self._all))  # the ordered one's own look each key up: 2 ms for all

    def of(self, record: ConnectionRecord) -> Traffic:
        """Where a connection that begins now is counted."""
        given = labels(record)
        found = self._all.get(given)
        if found is not None:
            self._all.move_to_end(given)
            return found
        claimed = record.source is None and record.claims is not None
        if claimed and self._claimed >= self.CLAIMED_ROOM:
            claimed, given = False, without_claims(given)
        if given not in self._all and len(self._all) >= self.ROOM and not self._make_room():
            claimed, given = False, _overflow(record.direction)
        found = self._all.get(given)
        if found is None:
            found = self._all[given] = Traffic(given, claimed)
            self._claimed += claimed
        return found

    def _make_room(self) -> bool:
        for _ in range(self.LOOKS):
            given, oldest = next(iter(self._all.items()))
            if not oldest.live:
                del self._all[given]
                self._claimed -= oldest.claimed
                return True
            self._all.move_to_end(given)
        return False


def _overflow(direction: Direction) -> Labels:
    return (reporter(direction), *(UNKNOWN,) * (len(NAMES) - 1))
