"""The store's waiting, and the file that feeds it."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import weakref
from itertools import pairwise
from pathlib import Path

import pytest

from proxy.state.mesh import MeshState
from proxy.state.store import LARGE_BYTES, FileSource, MeshStore, NotReady
from proxy.tests.mesh import workload
from proxy.tests.state.test_document import POLICY, WORKLOAD


def put(path: Path, text: str) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(text)
    temporary.replace(path)


def test_nothing_is_known_before_the_first_snapshot() -> None:
    """T64: a connection waits, and is refused in the end; it never meets an empty mesh."""

    async def scenario() -> None:
        store = MeshStore()
        assert not store.has_state
        with pytest.raises(NotReady, match=r"no mesh state after 0.01 s"):
            await store.ready(0.01)

    asyncio.run(scenario())


def test_waiters_get_the_snapshot_that_ends_their_wait() -> None:
    async def scenario() -> None:
        store = MeshStore()
        state = MeshState(version=1, workloads=[workload("client", "10.0.0.1")])
        async with asyncio.TaskGroup() as tasks:
            ready = tasks.create_task(store.ready(5))
            own = tasks.create_task(
                store.workload(namespace="ns", name="client", service_account="client", timeout_s=5)
            )
            await asyncio.sleep(0)
            store.replace(MeshState(version=1))
            await asyncio.sleep(0)
            store.replace(state)

        assert ready.result().version == 1
        assert own.result() is state.workloads["cluster//Pod/ns/client"]

    asyncio.run(scenario())


def test_an_unknown_workload_is_named_when_the_wait_ends() -> None:
    async def scenario() -> None:
        store = MeshStore()
        with pytest.raises(NotReady, match="no workload ns/ghost with service account sa"):
            await store.workload(namespace="ns", name="ghost", service_account="sa", timeout_s=0.01)

    asyncio.run(scenario())


def test_a_pod_of_another_node_is_named_when_the_wait_ends() -> None:
    """P17."""

    async def scenario() -> None:
        store = MeshStore()
        store.replace(MeshState(version=1, workloads=[workload("web-0", "10.0.0.1", node="n2")]))
        with pytest.raises(NotReady, match=r"on node n1 in the .*; there is one on node 'n2'"):
            await store.workload(
                namespace="ns", name="web-0", service_account="web-0", node="n1", timeout_s=0.01
            )

    asyncio.run(scenario())


def test_subscribers_see_every_replacement_until_they_leave() -> None:
    store = MeshStore()
    seen: list[int] = []
    leave = store.subscribe(lambda state: seen.append(state.version))

    store.replace(MeshState(version=1))
    store.replace(MeshState(version=2))
    leave()
    store.replace(MeshState(version=3))

    assert seen == [1, 2]


def test_a_replaced_file_comes_into_force_and_an_unchanged_one_does_not(tmp_path: Path) -> None:
    async def scenario() -> list[int]:
        path = tmp_path / "mesh.json"
        store, source = MeshStore(), FileSource(path, poll_s=1)
        versions = []
        for text in (None, "{}", None, json.dumps({"workloads": [WORKLOAD]}), "{ torn", "{}"):
            if text is not None:
                put(path, text)
            await source.look(store)
            versions.append(store.state.version)
        os.utime(path, ns=(1, 1))
        await source.look(store)
        return [*versions, store.state.version]

    assert asyncio.run(scenario()) == [0, 1, 1, 2, 2, 3, 3]


def test_policies_that_did_not_change_are_not_compiled_again(tmp_path: Path) -> None:
    """Who holds what was compiled need not judge anew; a policy that is for others changes nothing here."""
    mine, theirs = dict(POLICY), {**POLICY, "name": "other", "namespace": "far", "scope": "Namespace"}

    async def scenario() -> list[bool]:
        path = tmp_path / "mesh.json"
        store, source = MeshStore(), FileSource(path, poll_s=1, node="a")
        compiled = []
        for policies in ([mine], [mine, theirs], [{**mine, "action": "Allow"}, theirs], [theirs]):
            put(path, json.dumps({"workloads": [WORKLOAD], "policies": policies}))
            await source.look(store)
            compiled.append(store.state.policies_for(store.state.workloads[WORKLOAD["uid"]]))
        return [before is after for before, after in pairwise(compiled)]

    assert asyncio.run(scenario()) == [True, False, False]


def test_the_aliases_of_the_settings_hold_for_each_document(tmp_path: Path) -> None:
    """P49."""

    async def scenario() -> list[frozenset[str]]:
        path, store = tmp_path / "mesh.json", MeshStore()
        source = FileSource(path, poll_s=1, aliases=frozenset({"cluster.local", "old.example"}))
        trusted = []
        for trust_domain in ("cluster.local", "old.example", "other.example"):
            put(path, json.dumps({"workloads": [{**WORKLOAD, "trustDomain": trust_domain}]}))
            await source.look(store)
            trusted.append(store.state.trusted_by(store.state.workloads[WORKLOAD["uid"]]))
        return trusted

    both = frozenset({"cluster.local", "old.example"})
    assert asyncio.run(scenario()) == [both, both, frozenset({"other.example"})]


def test_a_vanished_file_leaves_the_state_in_force(tmp_path: Path) -> None:
    async def scenario() -> int:
        path = tmp_path / "mesh.json"
        put(path, json.dumps({"workloads": [WORKLOAD]}))
        store, source = MeshStore(), FileSource(path, poll_s=1)
        await source.look(store)
        path.unlink()
        await source.look(store)
        return len(store.state.workloads)

    assert asyncio.run(scenario()) == 1


def test_trouble_is_reported_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        source = FileSource(tmp_path / "mesh.json", poll_s=1)
        for _ in range(3):
            await source.look(MeshStore())

    asyncio.run(scenario())

    assert [record.getMessage() for record in caplog.records] == [
        f"read mesh document {tmp_path / 'mesh.json'}: No such file or directory"
    ]


class Cycle:
    """Garbage that the collector alone frees."""

    def __init__(self) -> None:
        self.itself = self


def test_what_is_garbage_when_a_large_document_comes_does_not_stay(tmp_path: Path) -> None:
    """P31: what is frozen with the document is never looked at again."""
    path = tmp_path / "mesh.json"
    workloads = [{**WORKLOAD, "uid": f"u{number}", "name": f"w{number}"} for number in range(2000)]
    path.write_text(json.dumps({"workloads": workloads}))
    assert path.stat().st_size > LARGE_BYTES
    gc.collect()
    gc.disable()  # as between two of its own collections
    try:
        garbage = weakref.ref(Cycle())
        asyncio.run(FileSource(path, poll_s=1).look(MeshStore()))
        assert garbage() is None
    finally:
        gc.enable()
        gc.unfreeze()
