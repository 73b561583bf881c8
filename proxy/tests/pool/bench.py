"""A pool whose opener and tunnels are fakes in the test's hands."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from typing import cast

from proxy.config import Reuse
from proxy.hbone.events import Header
from proxy.identity.spiffe import SpiffeId
from proxy.pool import Key, Pool
from proxy.telemetry import Stats
from proxy.tunnel.stream import TunnelStream

HEADERS: list[Header] = []
CONTEXT = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def identity(service_account: str) -> SpiffeId:
    return SpiffeId("cluster.local", "bench", service_account)


def key(number: int = 0) -> Key:
    return Key(
        identity(f"client{number}"),
        frozenset({str(identity("server"))}),
        IPv4Address("10.0.0.1"),
        (IPv4Address("10.0.1.1"), 15008),
    )


@dataclass
class FakeStream:
    """All that the pool and these tests need of a stream."""

    tunnel: FakeTunnel

    def reset(self, _code: int) -> None:
        self.tunnel.stream_over()


class FakeTunnel:
    """A tunnel without a network."""

    def __init__(self, *, ready: bool = True, peer_max: int = 1000) -> None:
        self.ready = ready
        self.peer_max = peer_max
        self.live = 1
        self.most = 1
        self.over = False
        self.draining = False
        self.retired = False
        self.stalled = False
        self.close_reason: str | None = None
        self.fault: str | None = None
        self.on_change: Callable[[], None] = lambda: None
        self.on_closed: Callable[[], None] = lambda: None

    @property
    def usable(self) -> bool:
        return not (self.over or self.draining or self.retired)

    @property
    def capacity(self) -> int:
        return max(0, self.peer_max - self.live) if self.usable else 0

    def connect(self, _headers: list[Header]) -> TunnelStream:
        assert self.ready
        assert self.capacity
        self.live += 1
        self.most = max(self.most, self.live)
        return self._stream()

    def first(self) -> TunnelStream:
        return self._stream()

    def _stream(self) -> TunnelStream:
        return cast(TunnelStream, FakeStream(self))

    def stream_over(self) -> None:
        self.live -= 1
        self.on_change()
        if self.retired and not self.live:
            self.finish(None)

    def become_ready(self) -> None:
        self.ready = True
        self.on_change()

    def goaway(self) -> None:
        self.draining = True
        self.on_change()

    def retire(self) -> None:
        self.retired = True
        self.on_change()
        if not self.live:
            self.finish(None)

    def abort(self, reason: str) -> None:
        self.finish(reason)

    def finish(self, reason: str | None) -> None:
        self.over = True
        self.close_reason = reason
        self.on_closed()
        self.on_change()


@dataclass
class Bench:
    """A pool, and an opener whose tunnels the test lets through, or fails."""

    limit: int = 100
    ready: bool = True
    peer_max: int = 1000
    idle_s: float = 300.0
    pool: Pool = field(init=False)
    stats: Stats = field(default_factory=Stats)
    tunnels: list[FakeTunnel] = field(default_factory=list)
    attempts: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    error: Exception | None = None

    def __post_init__(self) -> None:
        self.pool = Pool(max_streams=self.limit, idle_s=self.idle_s, stats=self.stats)
        self.gate.set()

    async def open(self) -> tuple[FakeTunnel, TunnelStream]:
        self.attempts += 1
        await self.gate.wait()
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error
        tunnel = FakeTunnel(ready=self.ready, peer_max=self.peer_max)
        self.tunnels.append(tunnel)
        return tunnel, tunnel.first()

    async def stream(
        self,
        number: int = 0,
        *,
        reuse: Reuse = Reuse.ON,
        context: ssl.SSLContext = CONTEXT,
        opened_since: float = -math.inf,
        per_tunnel: int | None = None,
    ) -> tuple[TunnelStream, bool]:
        return await self.pool.stream(
            key(number),
            context,
            HEADERS,
            self.open,
            reuse=reuse,
            opened_since=opened_since,
            per_tunnel=per_tunnel,
        )

    def has_tunnels(self, count: int) -> bool:
        """Whether that many were let through."""
        return len(self.tunnels) == count

    def tunnel_of(self, stream: TunnelStream) -> FakeTunnel:
        return cast(FakeTunnel, stream.tunnel)


async def together(bench: Bench, count: int, *, keys: int = 1) -> list[tuple[TunnelStream, bool]]:
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(bench.stream(number % keys)) for number in range(count)]
    return [task.result() for task in tasks]
