"""Cores are shared out where each role gets one, and left alone where not."""

from __future__ import annotations

import pytest

from harness.engines.api import Member, Role
from harness.testbed.cpus import cpu_sets


def _member(role: Role, node: str) -> Member:
    return Member(name=f"{role}-{node}", role=role, node=node, image="x", namespace="n", command=("x",))


def test_two_cores_are_left_to_the_scheduler_and_the_record_says_why() -> None:
    found = cpu_sets([0, 1], ["a", "b"])

    assert found.bound(_member(Role.LOAD, "a")).cpus == ()
    assert found.because == "not applied: 2 cores, and a core for each role takes 4"


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        (range(4), {"load": (0,), "a": (1,), "b": (2,), "app": (3,)}),
        ([2, 3, 6, 7, 9], {"load": (2, 3), "a": (6,), "b": (7,), "app": (9,)}),
        (range(8), {"load": (0, 1), "a": (2, 3), "b": (4, 5), "app": (6, 7)}),
    ],
)
def test_each_role_has_cores_of_its_own(
    cores: range | list[int], expected: dict[str, tuple[int, ...]]
) -> None:
    found = cpu_sets(list(cores), ["a", "b"])

    assert {
        "load": found.bound(_member(Role.LOAD, "a")).cpus,
        "a": found.bound(_member(Role.ZTUNNEL, "a")).cpus,
        "b": found.bound(_member(Role.ZTUNNEL, "b")).cpus,
        "app": found.bound(_member(Role.APP, "b")).cpus,
    } == expected
    assert found.bound(_member(Role.AGENT, "a")).cpus == ()


def test_more_nodes_take_more_cores() -> None:
    nodes = ["a", "b", "c", "d"]

    assert cpu_sets(range(5), nodes).sets == {}
    assert len(cpu_sets(range(6), nodes).sets) == 6
