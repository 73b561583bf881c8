"""What a peer may ask of us at once, and how often. A limit's source stands beside it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from proxy.hbone.errors import Flood


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A token bucket's shape."""

    burst: int
    per_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Limits of one connection; all of them bind before the peer has acknowledged our SETTINGS."""

    stream_window: int = 4 * 1024 * 1024
    """Bytes a peer may have under way on one stream. ztunnel's default."""
    connection_window: int = 16 * 1024 * 1024
    """Likewise for the connection. Four times a stream's: with equal values one stalled stream
    would stall them all (ztunnel #1538)."""
    max_frame: int = 1024 * 1024
    """Announced SETTINGS_MAX_FRAME_SIZE. ztunnel's value; a frame's payload is passed on as it comes."""
    max_streams: int = 200
    """Streams a peer may have open on us. ztunnel's server value."""
    header_list: int = 65_536
    """Bytes of a header block, and of its decoded list by HPACK's count. ztunnel's server value;
    its client allows 16 KiB."""
    header_fields: int = 64
    """Fields of one head; 400 one-byte fields pass every byte limit."""
    continuations: int = 8
    """CONTINUATION frames in one header block: 64 KiB need three at the smallest frame size."""
    settings_entries: int = 32
    """Entries in one SETTINGS frame (nghttp2's figure)."""
    resets: Rate = Rate(burst=1000, per_s=33)
    """Streams that a client takes back before their answer and within `PREMATURE_S`, or that a peer makes us
    reset. nghttp2's figures (session_update_stream_reset_ratelim, servers alone), for Envoy's kind of reset
    (premature: young and without a response; Rust h2: not accepted yet). An app or backend that aborts a
    connected stream costs the peer a round trip and us nothing more than an end would: it is not counted."""
    pings: Rate = Rate(burst=1000, per_s=33)
    """PINGs to be answered (Envoy bounds its queue of answers at 1000)."""
    settings: Rate = Rate(burst=100, per_s=10)
    """SETTINGS frames to be acknowledged."""
    priorities: Rate = Rate(burst=1000, per_s=33)
    """PRIORITY and unknown frames, which mean nothing to us."""
    informational: Rate = Rate(burst=100, per_s=10)
    """Answers before the answer, status 1xx, which mean nothing to a CONNECT."""
    empty_frames: int = 100
    """DATA frames in a row that carry no byte, no padding and no end."""
    padding: Rate = Rate(burst=1000, per_s=33)
    """DATA frames of padding alone, as a peer may send to hide what it says (RFC 9113 10.7)."""
    window_updates_base: int = 1000
    """WINDOW_UPDATE frames over and above 2 x (streams + 10 x DATA frames sent), Envoy's formula. Its frames
    are of 16 KiB, so larger ones count as several: Go gives credit in steps of 4 KiB, for both windows."""


PREMATURE_S: Final = 1.0
"""Age below which a request that is taken back unanswered may be part of a flood. Source: Envoy's
overload.premature_reset_min_stream_lifetime_seconds."""

SERVER_LIMITS = Limits()
CLIENT_LIMITS = Limits(header_list=16_384, max_streams=0)


@dataclass(slots=True)
class Bucket:
    """A budget that refills: `take` raises when it is empty."""

    kind: str
    rate: Rate
    tokens: float = field(init=False)
    filled_at: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self.tokens = self.rate.burst

    def take(self, now: float) -> None:
        """Use one token at time `now` (s, any monotonic clock).

        Raises:
            Flood: None is left.
        """
        self.tokens = min(self.rate.burst, self.tokens + (now - self.filled_at) * self.rate.per_s)
        self.filled_at = now
        if self.tokens < 1:
            raise Flood(self.kind)
        self.tokens -= 1
