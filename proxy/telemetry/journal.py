"""The times of completed connections, kept for whoever asked for them; off until then.

A row joins the records of one connection across a mesh: the source proxy's to the client by the address that
it accepted from, the two proxies' by the CONNECT's trace, the destination's to the app by our end of its leg.
All times are CLOCK_MONOTONIC, which every process of one kernel shares.
"""

from __future__ import annotations

from dataclasses import fields

from proxy.state.model import SocketAddress, authority
from proxy.telemetry.record import ConnectionRecord, Phases

ROOM_MAX = 16_384
"""Most connections that a journal holds: about 16 MB."""

STAMPS = tuple(field.name for field in fields(Phases))
FIELDS = (
    *("direction", "outcome", "source", "target", "own_end", "trace", "stream", "accepted_ns"),
    *STAMPS,
)
"""Columns of a row. `source` is whom the connection was accepted from, `target` whom it was for; the stamps
are ns since `accepted_ns`, None where a step was not reached or does not apply."""

Value = str | int | None


class Journal:
    """Holds as many records as there is room for; those that come after are counted."""

    def __init__(self) -> None:
        self.room = 0
        """Most records; 0: off, and a connection pays for no more than looking at this."""
        self._records: list[ConnectionRecord] = []
        self._lost = 0

    def open(self, room: int) -> None:
        """Begin anew with room for so many; 0 switches it off."""
        self.room = room
        self._records, self._lost = [], 0

    def add(self, record: ConnectionRecord) -> None:
        """A connection has ended."""
        if len(self._records) < self.room:
            self._records.append(record)
        else:
            self._lost += 1

    def take(self) -> dict[str, object]:
        """Hand over what is there, and go on empty: `fields`, `rows`, and how many were `lost`."""
        records, lost = self._records, self._lost
        self.open(self.room)
        return {"fields": list(FIELDS), "rows": [_row(record) for record in records], "lost": lost}


def _row(record: ConnectionRecord) -> list[Value]:
    stamps = (getattr(record.phases, name) for name in STAMPS)
    return [
        record.direction.value,
        record.outcome.value,
        authority(record.source_address),
        record.hbone_address or _written(record.destination_address),
        _written(record.own_end),
        record.trace_id or "",
        record.stream_id,
        record.accepted_ns,
        *(None if stamp is None else stamp - record.accepted_ns for stamp in stamps),
    ]


def _written(address: SocketAddress | None) -> str:
    return "" if address is None else authority(address)
