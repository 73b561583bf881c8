"""The destination's proxy is frozen for a second; the kernel goes on accepting for it (M32, F03)."""

from __future__ import annotations

from harness.selftest.sabotages import proxy_stalled

FIRES = proxy_stalled.FIRES
BECAUSE = proxy_stalled.BECAUSE


class Sabotage(proxy_stalled.Sabotage):
    """A stall that no scheduler explains."""

    stall_s = 1.0
