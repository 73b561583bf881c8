"""Where connections are counted: one call when one begins, one when it ends, and one before a scrape."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from time import monotonic_ns

from proxy.net.address import address
from proxy.telemetry import access
from proxy.telemetry.journal import Journal
from proxy.telemetry.record import ConnectionRecord, Direction, Flag, Outcome
from proxy.telemetry.stats import Stats
from proxy.telemetry.traffic import Table

SLICE = 256
"""Live connections that are asked for their bytes before traffic has its turn: 0.1 ms."""


class Telemetry:
    """Counts connections and writes the access log. `stats` is for everyone to increment."""

    def __init__(self, stats: Stats) -> None:
        self.stats = stats
        self.journal = Journal()
        self.traffic = Table()
        self.live: set[ConnectionRecord] = set()
        """Connections that have begun and are not over."""
        self.sockets = {Direction.OUTBOUND: 0, Direction.INBOUND: 0}
        """Accepted sockets that are open: of apps, of peers' tunnels, of plaintext."""

    @contextmanager
    def accepted(self, direction: Direction) -> Iterator[None]:
        """Count an accepted socket as open for the length of the block."""
        self.sockets[direction] += 1
        try:
            yield
        finally:
            self.sockets[direction] -= 1

    def opened(self, record: ConnectionRecord) -> None:
        """A connection begins: who talks to whom is known, the far end is yet to be reached."""
        record.series = self.traffic.of(record)
        record.series.opened += 1
        self.live.add(record)
        access.write_opened(record)

    def note_own_end(self, record: ConnectionRecord, far: socket.socket) -> None:
        """Note where our connection to the app comes from, which is what the app sees, for the journal."""
        if self.journal.room:
            host, port = far.getsockname()[:2]
            record.own_end = (address(host), port)

    async def settle(self) -> None:
        """Count what live connections have carried by now, a few of them at a time."""
        live = iter(tuple(self.live))
        while part := tuple(islice(live, SLICE)):
            for record in part:
                self._settle(record)
            await asyncio.sleep(0)

    def complete(self, record: ConnectionRecord) -> None:
        """The connection has ended, however.

        Counts `completed_outbound_*` and bytes by the record, and writes its access line.

        Raises:
            RuntimeError: It was completed before; each is counted and logged exactly once.
        """
        if record.completed:
            raise RuntimeError(f"connection from {record.source_address} completed twice")
        self._settle(record)
        record.completed = True
        record.ended_ns = monotonic_ns()
        stats, carrier, series = self.stats, record.carrier, record.series
        if carrier is not None:
            record.phases.first_sent_ns = carrier.first_sent_ns
            record.phases.first_received_ns = carrier.first_received_ns
            record.carrier = None
        if record.direction is Direction.OUTBOUND:
            self._count_outcome(record.outcome)
        stats.flagged_deny += record.flag is Flag.DENY
        if series is not None:
            self.live.discard(record)
            if record.flag is Flag.NONE:
                series.ended += 1
            else:
                series.failed[record.flag] += 1
        access.write(record)
        if self.journal.room:
            self.journal.add(record)

    def _settle(self, record: ConnectionRecord) -> None:
        """Add what was carried since the last time. Nothing after the end."""
        carrier, series = record.carrier, record.series
        if carrier is None or series is None:
            return
        sent, received = carrier.sent, carrier.received
        more, back = sent - record.bytes_sent, received - record.bytes_received
        record.bytes_sent, record.bytes_received = sent, received
        series.bytes_sent += more
        series.bytes_received += back
        self.stats.bytes_sent += more
        self.stats.bytes_received += back

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
