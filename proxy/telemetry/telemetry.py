"""Where connections are counted: one call when one opens, one when it ends."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from time import monotonic_ns

from proxy.net.address import address
from proxy.telemetry import access
from proxy.telemetry.journal import Journal
from proxy.telemetry.record import ConnectionRecord, Direction, Flag, Outcome
from proxy.telemetry.stats import Stats
from proxy.telemetry.traffic import Labels, labels


@dataclass(slots=True)
class Traffic:
    """Sums over the connections with the same labels."""

    labels: Labels
    opened: int = 0
    closed: int = 0
    failed: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0


Key = tuple[Direction, str, str, str, str, bool, Flag]


class Telemetry:
    """Counts connections and writes the access log. `stats` is for everyone to increment."""

    LABEL_SETS = 10_000
    """Kinds of traffic told apart; the rest is summed under one more, as peers choose some labels."""

    def __init__(self, stats: Stats) -> None:
        self.stats = stats
        self.journal = Journal()
        self.traffic: dict[Key, Traffic] = {}
        self.live = {Direction.OUTBOUND: 0, Direction.INBOUND: 0}
        """Connections that are open now."""

    def opened(self, record: ConnectionRecord) -> None:
        """The connection's far end is reached: source, destination and service are known."""
        record.opened = True
        self.live[record.direction] += 1
        self._traffic(record, Flag.NONE).opened += 1

    def note_own_end(self, record: ConnectionRecord, far: socket.socket) -> None:
        """Note where our connection to the app comes from, which is what the app sees, for the journal."""
        if self.journal.room:
            host, port = far.getsockname()[:2]
            record.own_end = (address(host), port)

    def complete(self, record: ConnectionRecord) -> None:
        """The connection has ended, however.

        Counts `completed_outbound_*` and bytes by the record, and writes its access line.

        Raises:
            RuntimeError: It was completed before; each is counted and logged exactly once.
        """
        if record.completed:
            raise RuntimeError(f"connection from {record.source_address} completed twice")
        record.completed = True
        record.ended_ns = monotonic_ns()
        stats = self.stats
        stats.bytes_sent += record.bytes_sent
        stats.bytes_received += record.bytes_received
        if record.direction is Direction.OUTBOUND:
            self._count_outcome(record.outcome)
        traffic = self._traffic(record, record.flag)
        if record.opened:
            self.live[record.direction] -= 1
            traffic.closed += 1
        if record.flag is not Flag.NONE:
            traffic.failed += 1
            stats.flagged_deny += record.flag is Flag.DENY
        traffic.bytes_sent += record.bytes_sent
        traffic.bytes_received += record.bytes_received
        access.write(record)
        if self.journal.room:
            self.journal.add(record)

    def _count_outcome(self, outcome: Outcome) -> None:
        match outcome:
            case Outcome.HBONE:
                self.stats.completed_outbound_hbone += 1
            case Outcome.PASSTHROUGH:
                self.stats.completed_outbound_passthrough += 1
            case Outcome.DENIED:
                self.stats.completed_outbound_denied += 1
            case Outcome.FAILED:
                self.stats.completed_outbound_failed += 1

    def _traffic(self, record: ConnectionRecord, flag: Flag) -> Traffic:
        key: Key = (
            record.direction,
            record.source.uid if record.source is not None else "",
            record.destination.uid if record.destination is not None else "",
            record.service.key if record.service is not None else "",
            str(record.source_identity or ""),
            record.mutual_tls,
            flag,
        )
        traffic = self.traffic.get(key)
        if traffic is None:
            if len(self.traffic) >= self.LABEL_SETS:
                key = (record.direction, "", "", "", "", False, flag)
                record = ConnectionRecord(direction=record.direction, source_address=record.source_address)
            traffic = self.traffic.setdefault(key, Traffic(labels(record, flag)))
        return traffic
