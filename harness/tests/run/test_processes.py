"""Which members stand for which component of a path, on every data plane."""

from __future__ import annotations

from pathlib import Path as FilePath

import pytest

from harness.evidence.sources.cpu import Component
from harness.plan.model import Configuration, Interception, Path
from harness.run.processes import components
from harness.suite import load_suite
from harness.testbed.members import compose
from harness.testbed.placement import Placement
from harness.topology.allocator import resolve
from harness.topology.layout import Layout
from harness.topology.model import Pod

SUITE = load_suite("full")
TOPOLOGY = resolve(SUITE.topology)


def _components(path: Path, dataplane: str) -> dict[Component, list[str]]:
    ends = SUITE.paths[path]
    source = TOPOLOGY.member(ends.source)
    assert isinstance(source, Pod)
    level = Interception.NONE if dataplane == "none" else Interception.REDIRECT
    return components(
        compose(TOPOLOGY, (Placement(dataplane=dataplane, interception=level),), Layout(FilePath("/run/x"))),
        source,
        TOPOLOGY.member(ends.destination),
        Configuration(path=path, dataplane=dataplane, interception=level),
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (Path.SAME_NODE, {Component.PROXY_OF_BOTH: ["ztunnel-1-a"]}),
        (
            Path.CROSS_NODE,
            {Component.SOURCE_PROXY: ["ztunnel-1-a"], Component.DESTINATION_PROXY: ["ztunnel-1-b"]},
        ),
        (Path.OUT_OF_MESH, {Component.SOURCE_PROXY: ["ztunnel-1-a"]}),
        (Path.INTO_MESH, {Component.DESTINATION_PROXY: ["ztunnel-1-a"]}),
    ],
)
def test_a_path_has_its_own_proxies(path: Path, expected: dict[Component, list[str]]) -> None:
    found = _components(path, "pyztunnel")

    assert {component: names for component, names in found.items() if component.proxy} == expected
    assert found[Component.BACKEND] == [TOPOLOGY.member(SUITE.paths[path].destination).netns]


def test_both_load_processes_are_the_generator() -> None:
    assert _components(Path.CROSS_NODE, "none") == {
        Component.GENERATOR: ["probe", "locust"],
        Component.BACKEND: ["pod-1-server-remote"],
    }


def test_every_process_of_a_node_s_data_plane_counts_and_no_helper_of_the_bench() -> None:
    found = _components(Path.CROSS_NODE, "envoy")

    local = [pod.name for pod in TOPOLOGY.pods_on("a") if pod.captured]
    assert found[Component.SOURCE_PROXY] == [f"envoy-1-{name}" for name in local]
    assert "envoy-1-server-remote" in found[Component.DESTINATION_PROXY]
    assert not [name for names in found.values() for name in names if name.startswith("keeper")]


def test_another_lane_s_processes_are_of_no_component() -> None:
    topology = resolve(SUITE.topology, 2)
    level = Interception.REDIRECT
    placements = (Placement(dataplane="pyztunnel", interception=level),) * 2
    source, target = (topology.lane(2).member(name) for name in ("client", "server-remote"))
    assert isinstance(source, Pod)
    found = components(
        compose(topology, placements, Layout(FilePath("/run/x"))),
        source,
        target,
        Configuration(path=Path.CROSS_NODE, dataplane="pyztunnel", interception=level),
    )

    assert {
        Component.GENERATOR: ["probe", "locust"],
        Component.BACKEND: ["pod-2-server-remote"],
        Component.SOURCE_PROXY: ["ztunnel-2-a"],
        Component.DESTINATION_PROXY: ["ztunnel-2-b"],
    } == found
