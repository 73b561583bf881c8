"""Which members stand for which component of a path, on every data plane."""

from __future__ import annotations

from pathlib import Path as FilePath

import pytest

from harness import dataplanes
from harness.evidence.sources.cpu import Component
from harness.plan.model import Configuration, Interception, Path
from harness.run.processes import components
from harness.suite import load_suite
from harness.testbed.members import compose
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
        compose(TOPOLOGY, dataplanes.named(dataplane), Layout(FilePath("/run/x"))),
        source,
        TOPOLOGY.member(ends.destination),
        Configuration(path=path, dataplane=dataplane, interception=level),
    )


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (Path.SAME_NODE, {Component.PROXY_OF_BOTH: ["ztunnel-a"]}),
        (
            Path.CROSS_NODE,
            {Component.SOURCE_PROXY: ["ztunnel-a"], Component.DESTINATION_PROXY: ["ztunnel-b"]},
        ),
        (Path.OUT_OF_MESH, {Component.SOURCE_PROXY: ["ztunnel-a"]}),
        (Path.INTO_MESH, {Component.DESTINATION_PROXY: ["ztunnel-a"]}),
    ],
)
def test_a_path_has_its_own_proxies(path: Path, expected: dict[Component, list[str]]) -> None:
    found = _components(path, "pyztunnel")

    assert {component: names for component, names in found.items() if component.proxy} == expected
    assert found[Component.BACKEND] == [TOPOLOGY.member(SUITE.paths[path].destination).netns]


def test_both_load_processes_of_the_client_are_the_generator() -> None:
    assert _components(Path.CROSS_NODE, "none") == {
        Component.GENERATOR: ["probe-client", "locust-client"],
        Component.BACKEND: ["pod-server-remote"],
    }


def test_every_process_of_a_node_s_data_plane_counts() -> None:
    found = _components(Path.CROSS_NODE, "envoy")

    assert "keeper-a" in found[Component.SOURCE_PROXY]
    assert "envoy-client" in found[Component.SOURCE_PROXY]
    assert "envoy-server-remote" in found[Component.DESTINATION_PROXY]
