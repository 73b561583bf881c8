"""A mesh that changes its trust domain: its two names are one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proxy.identity.spiffe import SpiffeId
from proxy.state.mesh import MeshState
from proxy.telemetry import Flag, Outcome
from proxy.tests.listeners.cluster import Cluster, cluster
from proxy.tests.listeners.policies import CLIENT
from proxy.tests.listeners.talk import echo, exchange, expect_reset
from proxy.tests.sockets import run

pytestmark = pytest.mark.netns

OLD = SpiffeId("old.example", "ns", "server")
ALIASES = frozenset({"cluster.local", "old.example"})


def move_the_server(c: Cluster, aliases: frozenset[str]) -> None:
    """The server is still of the old trust domain, in the document and by its certificate."""
    workloads = [
        replace(each, trust_domain=OLD.trust_domain) if each.name == "server" else each
        for each in c.workloads
    ]
    for node in (c.client, c.server):
        node.context.store.replace(MeshState(version=9, workloads=workloads, aliases=aliases))


def test_aliases_of_a_trust_domain_are_taken_for_one() -> None:
    """P49: as a client and as a server."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            move_the_server(c, ALIASES)
            c.server.context.identities.enrol(OLD)
            c.guests.append((c.server, OLD))
            await exchange(c, "client", "server")
            (out,), (into,) = await c.records(c.client, 1), await c.records(c.server, 1)

            assert (out.outcome, out.destination_identity) == (Outcome.HBONE, OLD)
            assert (into.outcome, into.source_identity) == (Outcome.HBONE, CLIENT)

    run(test())


def test_without_aliases_which_trust_domain_is_wrong_is_said() -> None:
    """P49, T33."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            move_the_server(c, frozenset())
            c.server.context.identities.enrol(OLD)
            c.guests.append((c.server, OLD))
            await expect_reset(await c.dial("client", "server"))
            into = (await c.records(c.server, 1))[0]

            assert into.flag is Flag.IDENTITY_ERROR
            assert "is of trust domain cluster.local, expected old.example" in (into.error or "")

    run(test())


def test_a_trust_domain_that_no_pod_was_given_is_named() -> None:
    """P49: of the document another one than TRUST_DOMAIN."""

    async def test() -> None:
        async with cluster() as c:
            await c.listen("server", echo)
            move_the_server(c, frozenset())
            await expect_reset(await c.dial("client", "server"))
            into = (await c.records(c.server, 1))[0]

            assert into.flag is Flag.IDENTITY_ERROR
            assert "its pods are of trust domain cluster.local (TRUST_DOMAIN)" in (into.error or "")

    run(test())
