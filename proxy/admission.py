"""How many connections there may be at once, in all and from one address. Pure counting.

A proxy without descriptors can accept nothing, answer no scrape and reach no app. So connections are
turned away before that, and one source cannot take what all need. Source: threats.md T16, I5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from proxy.config import Settings
from proxy.state.model import IPAddress

RESERVE = 256
"""Descriptors for everything else: listeners, namespaces, admin, tunnels to come."""
DESCRIPTORS = 2
"""Of a connection: its own socket and the one that it leads to."""
UNBOUNDED = 2**31


@dataclass(slots=True)
class Admission:
    """Connections that exist, against their limits."""

    total: int = UNBOUNDED
    per_source: int = UNBOUNDED
    live: int = field(init=False, default=0)
    refused: int = field(init=False, default=0)
    """Connections turned away since start."""
    sources: dict[IPAddress, int] = field(init=False, default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Limits as set, or what the process's descriptors allow: half of that for one source."""
        total = settings.max_connections or by_descriptors(descriptors())
        return cls(total, settings.max_connections_per_source or max(1, total // 2))

    def take(self, source: IPAddress) -> str | None:
        """Count one connection more. What forbids it, or None; then `release` has to follow."""
        if self.live >= self.total:
            return f"{self.total} connections"
        there = self.sources.get(source, 0)
        if there >= self.per_source:
            return f"{self.per_source} connections from {source}"
        self.live += 1
        self.sources[source] = there + 1
        return None

    def release(self, source: IPAddress) -> None:
        """One that was taken has ended."""
        self.live -= 1
        left = self.sources[source] - 1
        if left:
            self.sources[source] = left
        else:
            del self.sources[source]


def by_descriptors(limit: int) -> int:
    """Connections that fit under a limit of open files."""
    return max(1, (limit - min(RESERVE, limit // 2)) // DESCRIPTORS)


def descriptors() -> int:
    """How many files this process may have open, after asking for as many as it may ask for."""
    try:
        import resource  # noqa: PLC0415  not on Windows, which has no such limit
    except ImportError:
        return UNBOUNDED
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError):
            hard = soft  # macOS: the hard limit is more than the kernel gives
    return UNBOUNDED if hard == resource.RLIM_INFINITY else hard
