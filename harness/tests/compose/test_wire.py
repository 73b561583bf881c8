"""Finding the containers by what their processes say of themselves, on a /proc made for the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.compose.wire import CannotWire, find


def _process(proc: Path, pid: int, inode: int, *environment: str) -> None:
    folder = proc / str(pid) / "ns"
    folder.mkdir(parents=True)
    (folder / "net").symlink_to(f"net:[{inode}]")
    (proc / str(pid) / "environ").write_bytes(b"".join(f"{value}\0".encode() for value in environment))


def test_one_process_of_each_namespace_is_found(tmp_path: Path) -> None:
    _process(tmp_path, 10, 1, "PATH=/bin", "AMBIENTBENCH_NAMESPACE=node-a", "A=b")
    _process(tmp_path, 11, 2, "AMBIENTBENCH_NAMESPACE=pod-x")
    _process(tmp_path, 12, 3, "AMBIENTBENCH_NAMESPACE_NOT=pod-x")
    (tmp_path / "self").mkdir()

    found = find({"node-a", "pod-x"}, deadline_s=0, proc=tmp_path)

    assert found == {"node-a": f"{tmp_path}/10/ns/net", "pod-x": f"{tmp_path}/11/ns/net"}


def test_children_in_the_same_namespace_are_no_second_claim(tmp_path: Path) -> None:
    _process(tmp_path, 10, 1, "AMBIENTBENCH_NAMESPACE=pod-x")
    _process(tmp_path, 11, 1, "AMBIENTBENCH_NAMESPACE=pod-x")

    assert set(find({"pod-x"}, deadline_s=0, proc=tmp_path)) == {"pod-x"}


def test_two_projects_are_refused(tmp_path: Path) -> None:
    _process(tmp_path, 10, 1, "AMBIENTBENCH_NAMESPACE=pod-x")
    _process(tmp_path, 11, 2, "AMBIENTBENCH_NAMESPACE=pod-x")

    with pytest.raises(CannotWire, match="two containers claim pod-x"):
        find({"pod-x"}, deadline_s=0, proc=tmp_path)


def test_missing_containers_are_named(tmp_path: Path) -> None:
    _process(tmp_path, 10, 1, "AMBIENTBENCH_NAMESPACE=pod-x")

    with pytest.raises(CannotWire, match="no container for node-a, pod-y within 0 s"):
        find({"pod-x", "pod-y", "node-a"}, deadline_s=0, proc=tmp_path)
