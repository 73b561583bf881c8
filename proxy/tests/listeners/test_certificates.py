"""Certificates that change under traffic, in real namespaces: rotation, roots, expiry, an IP given on."""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

import pytest

from proxy.identity.authority import AuthorityFailed
from proxy.identity.spiffe import SpiffeId
from proxy.inpod.api import PodInfo
from proxy.state.mesh import MeshState
from proxy.state.model import Workload
from proxy.telemetry import Flag, Outcome
from proxy.tests.ca import Ca, pem
from proxy.tests.listeners.cluster import ADDRESSES, Cluster, cluster
from proxy.tests.listeners.talk import echo, exchange, expect_reset, greeted
from proxy.tests.mesh import workload
from proxy.tests.sockets import receive_exactly, run, send, until

pytestmark = pytest.mark.netns

RENEWED_EACH = {"starts": timedelta(seconds=-10), "life": timedelta(seconds=20)}
"""Past half life when it comes, so renewed each second, yet valid for ten more, however slow the machine."""


def identity(name: str) -> SpiffeId:
    return SpiffeId("cluster.local", "ns", name)


class RenewingAuthority:
    """Issues certificates that are to be renewed at once; `phases` are pairs of (issuer, roots)."""

    def __init__(self, *phases: tuple[Ca, tuple[Ca, ...]], identities: int) -> None:
        self._phases = phases
        self._identities = identities
        self.phase = 0
        self.issued: Counter[tuple[int, SpiffeId]] = Counter()

    async def sign(self, identity: SpiffeId, csr_pem: str, _ttl_s: float) -> Sequence[str]:
        # The next root comes when everybody has what the last change brought.
        served = sum(1 for phase, _ in self.issued if phase == self.phase)
        if served == self._identities and self.phase + 1 < len(self._phases):
            self.phase += 1
        self.issued[self.phase, identity] += 1
        issuer, roots = self._phases[self.phase]
        leaf, _ = issuer.answer(csr_pem, **RENEWED_EACH)
        return [leaf, "".join(pem(root.root) for root in roots)]


async def under_traffic(c: Cluster, authority: RenewingAuthority, *, renewals: int) -> int:
    """Short connections and one that lives, until every identity was renewed so often; exchanges done."""
    done = 0

    async def often() -> None:
        nonlocal done
        while not over.is_set():
            await exchange(c, "client", "server", os.urandom(1000))
            done += 1

    over = asyncio.Event()
    with await c.dial("client", "server") as long:
        await greeted(long)
        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(often())
            last = len(authority._phases) - 1
            while min([authority.issued[last, identity(name)] for name in c.nodes]) < (renewals):
                await send(long, b"still")
                assert await receive_exactly(long, 5) == b"still"
            over.set()
    return done


def test_rotation_in_mid_traffic_loses_no_request() -> None:
    """T39: every certificate is renewed several times; tunnels of the older ones are retired."""
    authority = RenewingAuthority((ca := Ca(), (ca,)), identities=2)

    async def test() -> None:
        async with cluster(authority=authority) as c:
            await c.listen("server", echo)
            done = await under_traffic(c, authority, renewals=3)
            records = await c.records(c.client, done + 1)

            assert [record.error for record in records if record.error] == []
            assert c.client.stats.tunnels_opened >= 2
            await until(lambda: c.client.stats.tunnels_outbound <= 1)
            assert c.client.stats.tls_resumptions == c.server.stats.tls_resumptions == 0

    run(test())


def test_an_idle_tunnel_goes_when_its_certificate_is_renewed() -> None:
    """T39: nobody has to ask for a stream before the older certificate is out of use."""
    authority = RenewingAuthority((ca := Ca(), (ca,)), identities=2)

    async def test() -> None:
        async with cluster(authority=authority) as c:
            await c.listen("server", echo)
            await exchange(c, "client", "server", b"once")
            opened = c.client.stats.tunnels_opened
            await until(lambda: c.client.stats.tunnels_outbound == 0)

            assert c.client.stats.tunnels_opened == opened == 1

    run(test())


def test_new_root_with_an_overlap_fails_nobody() -> None:
    """F44: old root; both, issued by the old; both, issued by the new; the new alone."""
    old, new = Ca("old"), Ca("new")
    phases = ((old, (old,)), (old, (old, new)), (new, (old, new)), (new, (new,)))
    authority = RenewingAuthority(*phases, identities=2)

    async def test() -> None:
        async with cluster(authority=authority) as c:
            await c.listen("server", echo)
            done = await under_traffic(c, authority, renewals=2)
            records = await c.records(c.client, done + 1)

            assert authority.phase == 3
            assert [record.error for record in records if record.error] == []

    run(test())


class LostAuthority:
    """Signs until it is lost."""

    def __init__(self) -> None:
        self._ca = Ca()
        self.lost = False

    async def sign(self, _identity: SpiffeId, csr_pem: str, _ttl_s: float) -> Sequence[str]:
        if self.lost:
            raise AuthorityFailed("UNAVAILABLE: down")
        return self._ca.answer(csr_pem)


def test_after_expiry_nothing_new_and_nothing_in_plaintext() -> None:
    """F43, T38: the CA is down past the certificates' end; what is established goes on, as in ztunnel."""
    authority, late_s = LostAuthority(), 0.0

    async def test() -> None:
        nonlocal late_s
        async with cluster(authority=authority, now=lambda: time.time() + late_s, readiness_wait_s=0.2) as c:
            await c.listen("server", echo)
            with await c.dial("client", "server") as established:
                await greeted(established)
                authority.lost = True
                late_s = 25 * 3600.0
                await expect_reset(await c.dial("client", "server"))
                (record,) = await c.records(c.client, 1)
                assert (record.outcome, record.flag) == (Outcome.FAILED, Flag.IDENTITY_ERROR)
                assert "no certificate after 0.2 s" in str(record.error)
                assert c.server.stats.connects_received == 1
                assert c.server.stats.accepted_inbound_plaintext == 0
                await send(established, b"goes on")
                assert await receive_exactly(established, 7) == b"goes on"

    run(test())


def test_an_address_given_to_another_identity_never_meets_the_old_ones_tunnels() -> None:
    """F46: as destination and as source; the old pod, its tunnel and its listeners being there still."""

    async def test() -> None:
        async with cluster(readiness_wait_s=1.0) as c:
            await c.listen("server", echo)
            await exchange(c, "client", "server")
            (old_tunnel,) = c.server.pods["server"]._inbound._tunnels
            heir = workload("heir", ADDRESSES["server"], node="node-server")
            await _becomes(c, heir)
            await expect_reset(await c.dial("client", "server"))
            assert not old_tunnel.over
            assert c.server.stats.connects_received == 1

            await c.server.pods["server"].close()
            await _serve(c, "server", "heir")
            await exchange(c, "client", "server")
            into = c.server.telemetry.completed[-1]
            assert into.destination_identity == identity("heir")

            # The same at the other end: what the new pod opens is its own.
            opened = c.client.stats.tunnels_opened
            await _becomes(c, heir, workload("caller", ADDRESSES["client"], node="node-client"))
            await c.client.pods["client"].close()
            await _serve(c, "client", "caller")
            await exchange(c, "client", "server")
            assert c.client.stats.tunnels_opened == opened + 1
            assert (await c.records(c.client, 4))[-1].source_identity == identity("caller")
            into = (await c.records(c.server, 3))[-1]
            assert into.source_identity == identity("caller")

    run(test())


async def _becomes(c: Cluster, *heirs: Workload) -> None:
    """The mesh says that these workloads have the addresses now."""
    taken = {address for heir in heirs for address in heir.addresses}
    others = tuple(each for each in c.workloads if not taken & set(each.addresses))
    c.version += 1
    for node in c.nodes.values():
        node.context.store.replace(MeshState(version=c.version, workloads=(*others, *heirs)))


async def _serve(c: Cluster, where: str, name: str) -> None:
    """Another pod in the namespace of an earlier one."""
    node = c.nodes[where]
    node.context.identities.enrol(identity(name))
    info = PodInfo(uid=name, name=name, namespace="ns", service_account=name)
    node.pods[where] = node.listeners.start(info, c.namespaces[where])
    c.guests.append((node, identity(name)))
