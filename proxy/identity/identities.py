"""Certificates of this node's workloads: fetched once for many callers, renewed at half life.

An identity is known while a pod of this node has it. Its certificate is fetched when the first pod
comes, so that connections find it there. When the authority fails, the last certificate is used
for as long as it is valid; after that the identity has none, and nothing is sent without one.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial

from proxy.identity.authority import Authority, AuthorityFailed
from proxy.identity.certificate import Certificate, Request
from proxy.identity.chain import InvalidChain
from proxy.identity.contexts import Unusable, client_context, server_context
from proxy.identity.spiffe import SpiffeId
from proxy.identity.turns import Turns, Urgency
from proxy.tasks import Supervisor
from proxy.telemetry.stats import Stats

log = logging.getLogger("proxy.identity")

CONCURRENCY = 8
"""Calls to the authority at a time; as ztunnel."""
BACKOFF_FIRST_S = 0.5
BACKOFF_CAP_S = 150.0
"""As ztunnel."""
RENEWAL_FLOOR_S = 1.0
"""Shortest time between renewals: a CA whose clock is behind issues what is past its half life already."""
NAP_S = 60.0
"""Longest sleep towards half life, so that a stepped wall clock is noticed."""
EXPECTED = (AuthorityFailed, InvalidChain, Unusable, OSError)
"""How fetching may fail with nothing wrong in the proxy. OSError: no descriptor or memory left."""


class IdentityUnavailable(Exception):
    """There is no valid certificate for an identity now; the message says why."""


@dataclass(frozen=True, slots=True)
class _Held:
    """A certificate with its contexts, made once."""

    certificate: Certificate
    client: ssl.SSLContext
    server: ssl.SSLContext


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How it stands with an identity's certificate."""

    identity: SpiffeId
    certificate: Certificate | None
    """The valid one, if there is one."""
    failure: str | None
    """Why the last attempt to fetch one failed."""


class _Entry:
    """One identity with pods on this node."""

    __slots__ = ("arrived", "awaited", "ended", "failure", "held", "identity", "task", "users")

    def __init__(self, identity: SpiffeId) -> None:
        self.identity = identity
        self.users = 0
        self.held: _Held | None = None
        self.arrived = asyncio.Event()
        self.awaited = 0
        """Connections that wait for it."""
        self.failure: str | None = None
        """Why the last attempt to fetch one failed."""
        self.task: asyncio.Task[None] | None = None
        self.ended = False

    def urgency(self) -> Urgency:
        """Of the next attempt."""
        if self.awaited:
            return Urgency.AWAITED
        return Urgency.NEW if self.held is None else Urgency.RENEWAL


class Identities:
    """TLS contexts by identity. A context stays the same object until its certificate is renewed."""

    def __init__(
        self,
        authority: Authority,
        *,
        background: Supervisor,
        stats: Stats,
        ttl_s: float,
        wait_s: float,
        now: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Nothing is fetched until an identity is enrolled.

        Args:
            authority: Who signs.
            background: Runs the renewals.
            stats: Counts what was fetched.
            ttl_s: Life to ask for.
            wait_s: How long a caller waits for a certificate that is not there yet.
            now: Wall clock, seconds since the epoch: certificates live by it.
            sleep: Waits between renewals and retries.
        """
        self._authority = authority
        self._background = background
        self._stats = stats
        self._ttl_s = ttl_s
        self._wait_s = wait_s
        self._now = now
        self._sleep = sleep
        self.on_renewed: Callable[[SpiffeId, ssl.SSLContext], None] = _nothing
        """An identity's certificate took the place of one before: with the context that opens tunnels now."""
        self._entries: dict[SpiffeId, _Entry] = {}
        self._calls = Turns(CONCURRENCY)

    def enrol(self, identity: SpiffeId) -> None:
        """A pod with that identity has come. The first one starts its certificate's life."""
        entry = self._entries.get(identity)
        if entry is None:
            entry = self._entries[identity] = _Entry(identity)
            work = partial(self._maintain, entry)
            entry.task = self._background.start(work, name=f"certificate {identity}")
        entry.users += 1

    def withdraw(self, identity: SpiffeId) -> None:
        """A pod with that identity has gone. With the last one, key and certificate are forgotten."""
        entry = self._entries[identity]
        entry.users -= 1
        if entry.users == 0:
            del self._entries[identity]
            entry.ended = True
            entry.arrived.set()
            if entry.task is not None:
                entry.task.cancel()

    async def client_context(self, source: SpiffeId) -> ssl.SSLContext:
        """The context with which `source` opens tunnels; waits for its first certificate.

        Raises:
            IdentityUnavailable: No pod of this node has that identity, or the CA has failed and
                no certificate is left that is valid.
        """
        return (await self._valid(source)).client

    async def server_context(self, workload: SpiffeId) -> ssl.SSLContext:
        """The context with which `workload`'s tunnels are accepted; see `client_context`."""
        return (await self._valid(workload)).server

    @property
    def waiting(self) -> bool:
        """Whether there are identities and none has a valid certificate: the authority is not there.

        One identity's trouble is its own; the others' connections work.
        """
        now = self._now()
        held = [entry.held for entry in self._entries.values()]
        return bool(held) and not any(each and now < each.certificate.not_after for each in held)

    def describe(self) -> list[Standing]:
        """Every identity of this node's pods, by name."""
        now = self._now()
        return [
            Standing(
                identity=entry.identity,
                certificate=entry.held.certificate
                if entry.held is not None and now < entry.held.certificate.not_after
                else None,
                failure=entry.failure,
            )
            for entry in sorted(self._entries.values(), key=lambda entry: str(entry.identity))
        ]

    async def _valid(self, identity: SpiffeId) -> _Held:
        entry = self._entries.get(identity)
        if entry is None:
            namesakes = [
                each.trust_domain
                for each in self._entries
                if replace(each, trust_domain=identity.trust_domain) == identity
            ]
            hint = f"; its pods are of trust domain {namesakes[0]} (TRUST_DOMAIN)" if namesakes else ""
            raise IdentityUnavailable(f"{identity}: no pod of this node has that identity{hint}")
        held = entry.held
        if held is not None and self._now() < held.certificate.not_after:
            return held
        entry.awaited += 1
        try:
            async with asyncio.timeout(self._wait_s):
                return await self._arrival(entry)
        except TimeoutError as exc:
            why = entry.failure or "the CA has not answered yet"
            raise IdentityUnavailable(f"{identity}: no certificate after {self._wait_s:g} s: {why}") from exc
        finally:
            entry.awaited -= 1

    async def _arrival(self, entry: _Entry) -> _Held:
        while True:
            held = entry.held
            if held is not None and self._now() < held.certificate.not_after:
                return held
            if entry.ended:
                raise IdentityUnavailable(f"{entry.identity}: its last pod has gone")
            await entry.arrived.wait()

    async def _maintain(self, entry: _Entry) -> None:
        """Fetch, sleep until half life, again; on failure retry ever more slowly.

        What is held stays held whatever happens: started anew, this goes on from there.
        """
        backoff_s = BACKOFF_FIRST_S
        while True:
            if entry.held is not None and entry.failure is None:
                await self._sleep(RENEWAL_FLOOR_S)
                await self._sleep_until(entry.held.certificate.half_life)
            try:
                self._take(entry, await self._fetch(entry))
            except EXPECTED as exc:
                entry.failure = str(exc)
                log.warning(
                    "certificate not fetched identity=%s retry_in=%gs error=%s",
                    entry.identity,
                    backoff_s,
                    exc,
                )
                await self._sleep(backoff_s)
                backoff_s = min(2 * backoff_s, BACKOFF_CAP_S)
            except Exception as exc:
                entry.failure = f"unexpected {exc!r}"
                raise
            else:
                backoff_s = BACKOFF_FIRST_S

    async def _fetch(self, entry: _Entry) -> _Held:
        async with self._calls.taken(entry.urgency):
            request = Request(entry.identity)
            answer = await self._authority.sign(entry.identity, request.csr_pem, self._ttl_s)
        self._stats.certificates_fetched += 1
        certificate = request.accept(answer, now=self._now())
        return _Held(certificate, client_context(certificate), server_context(certificate))

    def _take(self, entry: _Entry, held: _Held) -> None:
        before, entry.held = entry.held, held
        entry.failure = None
        arrived, entry.arrived = entry.arrived, asyncio.Event()
        arrived.set()
        log.info(
            "certificate fetched identity=%s serial=%s life_s=%d",
            entry.identity,
            held.certificate.serial,
            held.certificate.not_after - held.certificate.not_before,
        )
        if before is not None:
            self.on_renewed(entry.identity, held.client)

    async def _sleep_until(self, moment: float) -> None:
        while (left_s := moment - self._now()) > 0:
            await self._sleep(min(left_s, NAP_S))


def _nothing(_identity: SpiffeId, _context: ssl.SSLContext) -> None:
    pass
