"""When to ping a silent peer and when to give it up. Pure: the caller brings the clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Action(StrEnum):
    """What is due now."""

    NOTHING = "nothing"
    PING = "ping"
    GIVE_UP = "give-up"


@dataclass(slots=True)
class Keepalive:
    """A PING every `interval_s`; a peer that leaves one unanswered for `timeout_s` is dead.

    Source: ztunnel's h2 keep-alive, 10 s and 20 s.
    """

    started_at: float
    interval_s: float = 10.0
    timeout_s: float = 20.0
    pinged_at: float = field(init=False)
    waiting: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.pinged_at = self.started_at

    def due(self, now: float) -> Action:
        """What to do at `now`; after PING the caller has sent one."""
        if self.waiting:
            return Action.GIVE_UP if now >= self.pinged_at + self.timeout_s else Action.NOTHING
        if now >= self.pinged_at + self.interval_s:
            self.pinged_at, self.waiting = now, True
            return Action.PING
        return Action.NOTHING

    def answered(self) -> None:
        """The peer answered."""
        self.waiting = False
