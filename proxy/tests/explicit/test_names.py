"""Names of services as clients write them, and look-ups that hang."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from proxy.config import Settings
from proxy.explicit.names import Names, expansions
from proxy.explicit.socks import Reply, reply
from proxy.listeners.dial import Unreachable
from proxy.state.mesh import MeshState
from proxy.state.store import FileSource, MeshStore
from proxy.tests.explicit.reach import name, reach
from proxy.tests.mesh import service, workload
from proxy.tests.sockets import run

CLIENT = workload("client", "10.0.0.1")
HANGING = 50
"""Look-ups; the loop's own threads are fewer."""


@pytest.mark.parametrize("short", ["web", "web.ns", "web.ns.svc", "WEB.Ns", "web.ns.svc.cluster.local."])
def test_a_service_is_reached_by_its_short_names(short: str) -> None:
    """P50."""

    async def test() -> None:
        async with reach() as r:
            sock, answer = await r.ask(name(short), 80)
            sock.close()

            assert answer == reply(Reply.SUCCEEDED)

    run(test())


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("web", ["web", "web.a.svc.example"]),
        ("web.b", ["web.b", "web.b.svc.example", "web.b.a.svc.example"]),
        ("web.b.svc", ["web.b.svc", "web.b.svc.example"]),
        ("pod.sub.b", ["pod.sub.b", "pod.sub.b.svc.example"]),
        ("pod.sub.b.svc", ["pod.sub.b.svc", "pod.sub.b.svc.example"]),
        ("web.b.svc.example", ["web.b.svc.example"]),
        ("a.b.c.d.e", ["a.b.c.d.e"]),
        ("web.", ["web."]),
    ],
)
def test_short_names_are_completed_as_ztunnels_dns_does(written: str, expected: list[str]) -> None:
    """P50."""
    assert list(expansions(written, "a", "example")) == expected


def test_a_name_in_full_comes_before_a_completed_one() -> None:
    """P50: a ServiceEntry for the host web.ns is not the service web of namespace ns."""
    entry = service("entry", "10.96.0.2", hostname="web.ns")
    state = MeshState(services=[service("web", "10.96.0.1"), entry])

    async def resolved(written: str) -> str:
        return str(await Names(Settings()).resolve(state, CLIENT, written))

    assert asyncio.run(resolved("web.ns")) == "10.96.0.2"
    assert asyncio.run(resolved("web.ns.svc")) == "10.96.0.1"


def test_look_ups_that_hang_keep_nobody_from_the_mesh_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P34: on asyncio's own loop, whose look-ups and file reading share their threads."""
    release = Event()

    def hang(*_args: Any, **_kwargs: Any) -> list[Any]:
        release.wait()
        raise socket.gaierror("nobody answered")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    (tmp_path / "mesh.json").write_text("{}")

    async def test() -> None:
        names, store = Names(Settings(connect_timeout_s=30)), MeshStore()
        lookups = [
            asyncio.ensure_future(names.resolve(MeshState(), CLIENT, f"host{number}.invalid"))
            for number in range(HANGING)
        ]
        try:
            async with asyncio.timeout(5):
                await FileSource(tmp_path / "mesh.json", poll_s=1).look(store)
            assert store.has_state
            assert not any(lookup.done() for lookup in lookups)
        finally:
            release.set()
            outcomes = [await _outcome(lookup) for lookup in lookups]
        assert {type(outcome) for outcome in outcomes} == {Unreachable}

    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(test())


async def _outcome(lookup: asyncio.Future[Any]) -> Any:
    try:
        return await lookup
    except Unreachable as exc:
        return exc
