"""What a new connection does, as a pure decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

OPENERS: Final = 32
"""Tunnels of one key that are opened at a time, where the peer allows few streams on each. A handshake costs
either side about 1 ms of a core: more at a time would only make all of them late. ztunnel: one at a time."""
DETOURS: Final = 8
"""Tunnels of one key above which none is opened because the others are stalled. With ztunnel's windows four
streams whose readers stopped fill a tunnel, so that 32 of them cannot stop a neighbour; what waits for them
at the peer is bounded by as many windows (8 x 16 MiB)."""


class View(NamedTuple):
    """A tunnel as the decision sees it."""

    live: int
    room: int
    """How many more streams it may carry now; 0 while it is full or too old for this connection."""
    stalled: bool = False
    """Bytes of a new stream would wait behind those of others."""


@dataclass(frozen=True, slots=True)
class Use:
    """Use the tunnel at this index."""

    index: int


@dataclass(frozen=True, slots=True)
class Open:
    """Open another."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait for one that is being opened."""


OPEN: Final = Open()
WAIT: Final = Wait()


def decide(views: Sequence[View], *, opening: int, waiting: int, per_tunnel: int) -> Use | Open | Wait:
    """What a connection does.

    Args:
        views: The key's tunnels that are ready.
        opening: Tunnels that are being opened or wait for the peer's SETTINGS; each has its opener's stream.
        waiting: Other connections that wait.
        per_tunnel: Streams that one tunnel will carry, as far as known; at least 1.
    """
    fullest = -1
    with_room = 0
    for index, view in enumerate(views):
        if view.room > 0:
            with_room += 1
            # The fullest first: what is used least can then fall idle.
            if not view.stalled and (fullest < 0 or view.live > views[fullest].live):
                fullest = index
    if fullest >= 0:
        return Use(fullest)
    if with_room and len(views) + opening >= DETOURS:
        return Use(min((i for i, view in enumerate(views) if view.room > 0), key=lambda i: views[i].live))
    if waiting < opening * (per_tunnel - 1) or opening >= OPENERS:
        return WAIT
    return OPEN


def expired(idle_since: Sequence[float | None], *, now: float, idle_s: float) -> list[int]:
    """Which tunnels to close: those without a stream since `idle_s` or longer. None: in use."""
    return [index for index, since in enumerate(idle_since) if since is not None and now >= since + idle_s]
