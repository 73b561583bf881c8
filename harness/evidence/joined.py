"""One connection's way, put together from what client, proxies and backend each saw of it.

Client to source proxy by the address that the proxy accepted from, source to destination proxy by the
CONNECT's trace, the last proxy to the backend by its own end of that leg, which the backend names in its
answer. A hop that the path does not have is none; one that it has and that is not found breaks the join.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from harness.evidence.case import Case
from harness.evidence.model import FirstPacket
from harness.evidence.sources.journal import Entry

OUTBOUND, INBOUND = "outbound", "inbound"


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """One first packet with the proxies' entries of its connection."""

    packet: FirstPacket
    source: Entry | None = None
    """The proxy that captured it at the client's."""
    destination: Entry | None = None
    """The proxy that carried it to the backend, where that was an entry of its own."""
    broken: str = ""
    """Where the join broke: `source`, `destination`, `backend`; empty for a whole one."""


def join(case: Case) -> tuple[Joined, ...]:
    """Every first packet of a cell, joined as far as it can be.

    Raises:
        Unreadable: The journal is missing, malformed, or incomplete.
    """
    hops = _Hops(case)
    return tuple(hops.join(packet) for packet in case.first_packets)


class _Hops:
    """The entries of a cell, by what they are looked up with."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._client = case.client.address_of(case.configuration.ip_family)
        self._seen: dict[int, list[int]] = {}
        for mine, theirs in case.journal.seen:
            self._seen.setdefault(mine, []).append(theirs)
        source = () if case.outbound_proxy is None else (case.outbound_proxy,)
        self._outbound = _by(_entries(case, source, OUTBOUND), "source")
        inbound = _entries(case, () if case.handed_over else case.inbound_proxies, INBOUND)
        self._inbound = _by(inbound, "trace" if case.tunnelled else "source")

    def join(self, packet: FirstPacket) -> Joined:
        source = destination = None
        if self._case.outbound_proxy is not None:
            source = _during(packet, self._outbound.get(self._at(packet.port), ()))
            if source is None:
                return Joined(packet=packet, broken="source")
        if self._case.inbound_proxy is not None and not self._case.handed_over:
            key = source.trace if self._case.tunnelled and source is not None else self._at(packet.port)
            destination = _during(packet, self._inbound.get(key, ()))
            if destination is None:
                return Joined(packet=packet, source=source, broken="destination")
        last = destination or source
        leg = last.own_end if last is not None else self._at(packet.port)
        seen = self._seen.get(packet.port, [])
        whole = len(seen) == 1 and leg == self._at(seen[0])
        return Joined(
            packet=packet, source=source, destination=destination, broken="" if whole else "backend"
        )

    def _at(self, port: int) -> str:
        """The client's address with a port: as proxies write it, and as the backend has to see it."""
        return f"[{self._client}]:{port}" if self._client.version == 6 else f"{self._client}:{port}"


def _entries(case: Case, nodes: Iterable[str], direction: str) -> list[Entry]:
    """Of a service, the proxy before any endpoint may have it."""
    return [each for node in nodes for each in case.journal.book(node).entries if each.direction == direction]


def _by(entries: Iterable[Entry], name: str) -> Mapping[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for each in entries:
        found.setdefault(getattr(each, name), []).append(each)
    return found


def _during(packet: FirstPacket, entries: Iterable[Entry]) -> Entry | None:
    """The one entry that began while the first packet was under way; a port may come again in a cell."""
    found = [each for each in entries if packet.start_ns <= each.accepted_ns <= packet.first_byte_ns]
    return found[0] if len(found) == 1 else None
