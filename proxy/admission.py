"""How many connections there may be at once, in all and from one address. Pure counting.

A proxy without descriptors can accept nothing, answer no scrape and reach no app. So connections are
turned away before that, and one source cannot take what all need. A stream of a tunnel is a connection like
any other: it leads to an app. Source: threats.md T16, I5.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Self

from proxy.config import Relay, Settings
from proxy.state.model import IPAddress

RESERVE = 256
"""Descriptors for everything else: admin, scrapes, the agent, the CA, tunnels to come."""
DESCRIPTORS = {Relay.COPY: 2, Relay.SPLICE: 6}
"""Of a connection: its own socket and the one that it leads to; spliced, two pipes between them."""
PER_POD = 20
"""Descriptors of a pod: three listeners, its namespace, sockets made ahead (4 of 4 kinds)."""
UNBOUNDED = 2**31


@dataclass(slots=True)
class Admission:
    """Connections that exist, against their limits."""

    total: int = UNBOUNDED
    per_source: int = UNBOUNDED
    per_pod: float = 0.0
    """Connections that a served pod leaves no room for."""
    pods: int = field(init=False, default=0)
    """Pods that are served."""
    live: int = field(init=False, default=0)
    refused: int = field(init=False, default=0)
    """Connections turned away since start."""
    sources: dict[IPAddress, int] = field(init=False, default_factory=dict)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Limits as set, or what the process's descriptors allow: half of that for one source."""
        each, per_pod = DESCRIPTORS[settings.relay], 0.0
        total = settings.max_connections
        if not total:
            total, per_pod = by_descriptors(descriptors(), each), PER_POD / each
        return cls(total, settings.max_connections_per_source or max(1, total // 2), per_pod)

    def take(self, source: IPAddress) -> str | None:
        """Count one connection more. What forbids it, or None; then `release` has to follow."""
        total = max(1, int(self.total - self.pods * self.per_pod))
        if self.live >= total:
            return f"{total} connections"
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


def by_descriptors(limit: int, each: int) -> int:
    """Connections that fit under a limit of open files, of which one takes `each`."""
    return max(1, (limit - min(RESERVE, limit // 2)) // each)


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
