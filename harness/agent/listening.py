"""What a node's agent hears on links while asked to: nonces on the uplink, and when a pod's frames pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from harness.agent import clock, netns
from harness.agent.taps import NonceTap, Stamp, StampTap, open_nonce_tap, open_stamp_tap


class Listening:
    """The taps. Each is opened inside its link's namespace and read from outside."""

    def __init__(self) -> None:
        self._nonces: NonceTap | None = None
        self._stamps: StampTap | None = None
        self._before: Mapping[str, int] = {}

    def close(self) -> None:
        """Close whatever is open."""
        for tap in (self._nonces, self._stamps):
            if tap is not None:
                tap.close()
        self._nonces = self._stamps = None

    def listen(self, path: str, link: str) -> None:
        """Keep the first payload that arrives on a link of the namespace at `path`, until `heard`."""
        if self._nonces is not None:
            self._nonces.close()
        self._nonces = netns.inside(path, partial(open_nonce_tap, link))

    def heard(self, nonces: Sequence[str]) -> dict[str, dict[str, int]]:
        """Nonce -> what was kept since `listen`; nothing at all where that was never asked for."""
        if self._nonces is None:
            return {nonce: {"frames": 0, "hits": 0, "unkept": 0} for nonce in nonces}
        heard = self._nonces.heard(nonces)
        self._nonces.close()
        self._nonces = None
        return heard

    def stamp(self, path: str, link: str) -> None:
        """Keep the times of a link's frames until `stamped`."""
        if self._stamps is not None:
            self._stamps.close()
        self._stamps = netns.inside(path, partial(open_stamp_tap, link))
        self._before = clock.bracket()

    def stamped(self, ports: Sequence[int]) -> dict[str, Any]:
        """The stamps of connections from those local ports, and the clocks before and after."""
        after = clock.bracket()
        if self._stamps is None:
            return {"before": {}, "after": after, "connections": {}}
        found = moments(list(self._stamps.stamps()), ports)
        self._stamps.close()
        self._stamps = None
        return {"before": dict(self._before), "after": after, "connections": found}


def moments(stamps: Sequence[Stamp], ports: Sequence[int]) -> dict[str, dict[str, int]]:
    """Local port -> CLOCK_REALTIME of the SYN as it left, of SYN-ACK and first answer as they came.

    Over `lo` a frame is seen both as it departs and as it arrives: what the client sent counts as it left,
    what it got as it arrived. A connection of which one of the three was not seen is left out.
    """
    found: dict[int, dict[str, int]] = {port: {} for port in ports}
    for stamp in stamps:
        if stamp.sent and stamp.syn and stamp.source_port in found:
            found[stamp.source_port].setdefault("syn_ns", stamp.wall_ns)
        elif not stamp.sent and stamp.destination_port in found:
            seen = found[stamp.destination_port]
            if stamp.syn:
                seen.setdefault("syn_ack_ns", stamp.wall_ns)
            elif stamp.payload:
                seen.setdefault("answer_ns", stamp.wall_ns)
    return {str(port): seen for port, seen in found.items() if len(seen) == 3}
