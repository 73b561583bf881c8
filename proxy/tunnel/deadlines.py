"""What a peer must do in time, once TLS is done. Pure: the caller brings the clock."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.hbone.connection import Connection, Side


@dataclass(slots=True)
class Deadlines:
    """Each stage has `limit_s`: SETTINGS, their acknowledgement, a first request, any frame begun.

    Source: threats.md T15; ztunnel has none of these, Envoy only with its edge limits.
    """

    connection: Connection
    started_at: float
    limit_s: float
    incomplete_since: float | None = field(init=False, default=None)

    def received(self, now: float) -> None:
        """Bytes came: note since when a frame has been incomplete."""
        if not self.connection.incomplete:
            self.incomplete_since = None
        elif self.incomplete_since is None:
            self.incomplete_since = now

    def overdue(self, now: float) -> str | None:
        """What the peer failed to do, or None."""
        if self.incomplete_since is not None and now >= self.incomplete_since + self.limit_s:
            return f"a frame not complete after {self.limit_s:g} s"
        if now < self.started_at + self.limit_s:
            return None
        if not self.connection.peer.received:
            return f"no SETTINGS after {self.limit_s:g} s"
        if not self.connection.acknowledged:
            return f"our SETTINGS not acknowledged after {self.limit_s:g} s"
        if self.connection.side is Side.SERVER and not self.connection.opened:
            return f"no request after {self.limit_s:g} s"
        return None
