"""A topology survives its document."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from harness.tests.topology.test_allocator import DUAL, SPEC
from harness.topology.allocator import TopologyError, resolve
from harness.topology.document import from_json, to_json
from harness.topology.model import PodSpec, ServiceSpec, TopologySpec


def test_a_topology_comes_back_equal() -> None:
    topology = resolve(SPEC)

    assert topology == from_json(to_json(topology))


def test_a_dual_stack_topology_comes_back_equal_and_says_so_alone() -> None:
    topology = resolve(DUAL)

    assert topology == from_json(to_json(topology))
    assert '6":' in to_json(topology)
    assert '6":' not in to_json(resolve(SPEC))


@pytest.mark.parametrize("spec", [SPEC, DUAL])
def test_several_lanes_come_back_equal(spec: TopologySpec) -> None:
    quiet = replace(spec, services=(ServiceSpec(name="web", endpoints=("server-a", "server-b")),))
    topology = resolve(replace(quiet, pods=(*quiet.pods, PodSpec(name="quiet", node="a", backend=False))), 3)

    again = from_json(to_json(topology))

    assert topology == again
    assert [1, 2, 3] == [service.lane for service in again.services]
    assert topology.lane(2) == again.lane(2)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text[:-3], "not JSON"),
        (lambda text: text.replace('"gateway"', '"gatway"'), "key 'gateway' is missing"),
        (lambda text: text.replace("10.244.0.2", "10.244.0.256"), "10.244.0.256"),
        (lambda _: json.dumps([]), "topology document"),
    ],
)
def test_a_damaged_document_is_refused(edit, message: str) -> None:  # type: ignore[no-untyped-def]  # lambdas of one shape
    with pytest.raises(TopologyError, match=message):
        from_json(edit(to_json(resolve(SPEC))))
