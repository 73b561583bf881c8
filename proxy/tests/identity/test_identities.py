"""The life of certificates: ztunnel's identity manager tests, with a clock of our own."""

from __future__ import annotations

import asyncio
import errno
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta

import pytest

from proxy.identity.authority import AuthorityFailed
from proxy.identity.identities import BACKOFF_CAP_S, CONCURRENCY, Identities, IdentityUnavailable
from proxy.identity.spiffe import SpiffeId
from proxy.tasks import Supervisor
from proxy.telemetry.stats import Stats
from proxy.tests.ca import CLIENT, SERVER, Ca
from proxy.tests.sockets import PATIENCE_S

LIFE_S = 3600.0


class Clock:
    """A wall clock that moves when everything sleeps, to the earliest moment that someone waits for."""

    def __init__(self) -> None:
        self.now_s = time.time()
        self.slept: list[float] = []
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def now(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (self.now_s + seconds, woken)
        self._sleepers.append(entry)
        try:
            await woken
        finally:
            self._sleepers.remove(entry)

    async def until(self, moment: float) -> None:
        """Pass time, waking sleepers in order."""
        await settle()
        while due := [entry for entry in self._sleepers if entry[0] <= moment and not entry[1].done()]:
            wake, sleeper = min(due, key=lambda entry: entry[0])
            self.now_s = max(self.now_s, wake)
            sleeper.set_result(None)
            await settle()
        self.now_s = moment


class FakeAuthority:
    """Signs with a test CA at the clock's time; `failing` makes it refuse."""

    def __init__(self, clock: Clock) -> None:
        self.ca = Ca()
        self.clock = clock
        self.asked: list[SpiffeId] = []
        self.failing = False
        self.behind_s = 0.0
        self.at_once = 0
        self.peak = 0
        self.gate: asyncio.Event | None = None
        self.wrong: SpiffeId | None = None
        self.bug: Exception | None = None

    async def sign(self, identity: SpiffeId, csr_pem: str, ttl_s: float) -> Sequence[str]:
        self.asked.append(identity)
        self.at_once += 1
        self.peak = max(self.peak, self.at_once)
        try:
            if self.gate is not None:
                await self.gate.wait()
            if self.bug is not None:
                raise self.bug
            if self.failing:
                raise AuthorityFailed("UNAVAILABLE: down")
            if identity == self.wrong:
                return ["garbage", "garbage"]
            drift = timedelta(seconds=self.clock.now_s - time.time() - self.behind_s)
            return self.ca.answer(csr_pem, starts=drift, life=timedelta(seconds=ttl_s))
        finally:
            self.at_once -= 1


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


class Setup:
    def __init__(self, tasks: asyncio.TaskGroup) -> None:
        self.clock = Clock()
        self.authority = FakeAuthority(self.clock)
        self.stats = Stats()
        self.identities = Identities(
            self.authority,
            background=Supervisor(tasks, self.stats, sleep=self.clock.sleep),
            stats=self.stats,
            ttl_s=LIFE_S,
            wait_s=0.02,
            now=self.clock.now,
            sleep=self.clock.sleep,
        )


@asynccontextmanager
async def setup(*enrolled: SpiffeId) -> AsyncIterator[Setup]:
    async with asyncio.TaskGroup() as tasks:
        made = Setup(tasks)
        for identity in enrolled:
            made.identities.enrol(identity)
        yield made
        for identity in set(made.identities._entries):
            while identity in made.identities._entries:
                made.identities.withdraw(identity)


def test_one_fetch_serves_many_callers() -> None:
    async def scenario() -> None:
        async with setup(CLIENT, CLIENT) as made, asyncio.TaskGroup() as tasks:
            made.authority.gate = asyncio.Event()
            callers = [tasks.create_task(made.identities.client_context(CLIENT)) for _ in range(50)]
            await settle()
            made.authority.gate.set()
            contexts = {id(await caller) for caller in callers}

            assert made.authority.asked == [CLIENT]
            assert len(contexts) == 1
            assert made.stats.certificates_fetched == 1

    asyncio.run(scenario())


def test_an_identity_that_is_not_on_this_node_is_never_asked_for() -> None:
    """T37: only identities of enrolled pods."""

    async def scenario() -> None:
        async with setup(CLIENT) as made:
            await settle()
            with pytest.raises(IdentityUnavailable, match="no pod of this node has that identity"):
                await made.identities.client_context(SERVER)
            assert made.authority.asked == [CLIENT]

    asyncio.run(scenario())


def test_certificates_are_fetched_ahead_and_forgotten_with_the_last_pod() -> None:
    """test_prefetch_forget_certs."""

    async def scenario() -> None:
        async with setup(CLIENT, CLIENT, SERVER) as made:
            await settle()
            assert sorted(made.authority.asked, key=str) == [CLIENT, SERVER]
            made.identities.withdraw(CLIENT)
            await made.identities.client_context(CLIENT)
            made.identities.withdraw(CLIENT)
            with pytest.raises(IdentityUnavailable):
                await made.identities.client_context(CLIENT)
            assert [each.identity for each in made.identities.describe()] == [SERVER]

    asyncio.run(scenario())


def test_withdrawing_while_the_fetch_runs_ends_the_waiting() -> None:
    """forget_pending."""

    async def scenario() -> None:
        async with setup(CLIENT) as made, asyncio.TaskGroup() as tasks:
            made.authority.gate = asyncio.Event()
            caller = tasks.create_task(outcome(made.identities, CLIENT))
            await settle()
            made.identities.withdraw(CLIENT)
            assert "its last pod has gone" in await caller

    asyncio.run(scenario())


async def outcome(identities: Identities, identity: SpiffeId) -> str:
    try:
        await identities.client_context(identity)
    except IdentityUnavailable as exc:
        return str(exc)
    return "there"


def test_renewal_at_half_life_gives_a_new_context() -> None:
    """T39: cache_refresh."""

    async def scenario() -> None:
        async with setup(CLIENT) as made:
            await settle()
            start = made.clock.now_s
            first = await made.identities.client_context(CLIENT)
            await made.clock.until(start + LIFE_S / 2 - 5)
            assert await made.identities.client_context(CLIENT) is first
            await made.clock.until(start + LIFE_S / 2 + 5)
            assert await made.identities.client_context(CLIENT) is not first
            assert made.stats.certificates_fetched == 2

    asyncio.run(scenario())


def test_what_is_past_its_half_life_when_it_comes_is_not_renewed_without_pause() -> None:
    """T41: the CA's clock is far behind."""

    async def scenario() -> None:
        async with setup() as made:
            made.authority.behind_s = LIFE_S * 0.6
            made.identities.enrol(CLIENT)
            await made.clock.until(made.clock.now_s + 10)
            assert made.stats.certificates_fetched <= 11

    asyncio.run(scenario())


def test_the_last_certificate_is_kept_while_it_is_valid_and_not_longer() -> None:
    """T38, F41, F43: certificate_retention_on_refresh_failure; then fail closed; then recover."""

    async def scenario() -> None:
        async with setup(CLIENT) as made:
            await settle()
            start = made.clock.now_s
            first = await made.identities.client_context(CLIENT)
            made.authority.failing = True
            await made.clock.until(start + LIFE_S - 10)
            assert await made.identities.client_context(CLIENT) is first
            await made.clock.until(start + LIFE_S + 10)
            assert "UNAVAILABLE: down" in await outcome(made.identities, CLIENT)
            assert made.identities.describe()[0].certificate is None
            made.authority.failing = False
            await made.clock.until(made.clock.now_s + BACKOFF_CAP_S)
            assert await made.identities.client_context(CLIENT) is not first

    asyncio.run(scenario())


def test_what_nobody_foresaw_costs_neither_the_certificate_nor_its_renewal() -> None:
    """P01: callers without a certificate are told what it was."""

    async def scenario() -> None:
        async with setup(CLIENT) as made:
            await settle()
            start = made.clock.now_s
            first = await made.identities.client_context(CLIENT)
            made.authority.bug = ZeroDivisionError("oops")
            made.identities.enrol(SERVER)
            await made.clock.until(start + LIFE_S * 0.75)
            assert await made.identities.client_context(CLIENT) is first
            assert "unexpected ZeroDivisionError('oops')" in await outcome(made.identities, SERVER)
            assert made.stats.background_failures > 10
            made.authority.bug = None
            await made.clock.until(made.clock.now_s + 61)
            assert await made.identities.client_context(CLIENT) is not first
            assert await outcome(made.identities, SERVER) == "there"

    asyncio.run(scenario())


def test_without_a_descriptor_for_a_new_key_the_old_one_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """P01, F14."""

    async def scenario() -> None:
        async with setup(CLIENT) as made:
            await settle()
            start = made.clock.now_s
            first = await made.identities.client_context(CLIENT)
            with monkeypatch.context() as patched:
                patched.setattr(os, "memfd_create", no_descriptor)
                await made.clock.until(start + LIFE_S * 0.75)
                assert await made.identities.client_context(CLIENT) is first
                (row,) = made.identities.describe()
                assert row.certificate is not None
                assert row.failure == "[Errno 24] Too many open files"
            await made.clock.until(made.clock.now_s + BACKOFF_CAP_S + 1)
            assert await made.identities.client_context(CLIENT) is not first
            assert made.stats.background_failures == 0

    asyncio.run(scenario())


def no_descriptor(*_: object) -> int:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


def test_backoff_doubles_to_its_cap_and_begins_again_after_success() -> None:
    """backoff_resets_on_successful_fetch_after_failure."""

    async def scenario() -> None:
        async with setup() as made:
            made.authority.failing = True
            made.identities.enrol(CLIENT)
            await made.clock.until(made.clock.now_s + 1000)
            assert made.clock.slept[:10] == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 150]
            made.authority.failing = False
            await made.clock.until(made.clock.now_s + BACKOFF_CAP_S)
            made.clock.slept.clear()
            made.authority.failing = True
            await made.clock.until(made.clock.now_s + LIFE_S / 2 + 1)
            assert [seconds for seconds in made.clock.slept if seconds < 10][:1] == [0.5]

    asyncio.run(scenario())


def test_one_bad_identity_does_not_hold_up_another() -> None:
    """F42: garbage for one."""

    async def scenario() -> None:
        async with setup() as made:
            made.authority.wrong = SERVER
            made.identities.enrol(SERVER)
            made.identities.enrol(CLIENT)
            await made.clock.until(made.clock.now_s + 60)
            assert await outcome(made.identities, CLIENT) == "there"
            assert "unreadable certificate" in await outcome(made.identities, SERVER)

    asyncio.run(scenario())


def test_new_pods_are_before_renewals_and_those_waited_for_before_all() -> None:
    """P33: while every place is taken by renewals that get no answer."""

    async def scenario() -> None:
        names = [SpiffeId("cluster.local", "bench", f"w{number}") for number in range(2 * CONCURRENCY)]
        async with setup(*names) as made:
            made.identities._wait_s = PATIENCE_S
            await settle()
            made.authority.asked.clear()
            made.authority.gate = asyncio.Event()
            await made.clock.until(made.clock.now_s + LIFE_S / 2 + 1)
            assert len(made.authority.asked) == CONCURRENCY
            made.identities.enrol(SERVER)
            made.identities.enrol(CLIENT)
            async with asyncio.TaskGroup() as tasks:
                caller = tasks.create_task(outcome(made.identities, CLIENT))
                await settle()
                made.authority.gate.set()
                await settle()
                assert made.authority.asked[CONCURRENCY : CONCURRENCY + 2] == [CLIENT, SERVER]
                assert await caller == "there"
            assert len(made.authority.asked) == 2 * CONCURRENCY + 2

    asyncio.run(scenario())


def test_calls_to_the_authority_are_limited() -> None:
    async def scenario() -> None:
        async with setup() as made:
            made.authority.gate = asyncio.Event()
            for number in range(3 * CONCURRENCY):
                made.identities.enrol(SpiffeId("cluster.local", "bench", f"w{number}"))
            await settle()
            assert made.authority.peak == CONCURRENCY
            made.authority.gate.set()
            await settle()
            assert len(made.authority.asked) == 3 * CONCURRENCY

    asyncio.run(scenario())


def test_a_stepped_clock_is_noticed_within_a_nap() -> None:
    """F49."""

    async def scenario() -> None:
        async with setup(CLIENT) as made:
            await settle()
            assert max(made.clock.slept) <= 60
            made.clock.now_s += LIFE_S
            await made.clock.until(made.clock.now_s + 61)
            assert made.stats.certificates_fetched == 2

    asyncio.run(scenario())
