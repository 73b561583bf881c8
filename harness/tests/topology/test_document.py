"""A topology survives its document."""

from __future__ import annotations

import json

import pytest

from harness.tests.topology.test_allocator import DUAL, SPEC
from harness.topology.allocator import TopologyError, resolve
from harness.topology.document import from_json, to_json


def test_a_topology_comes_back_equal() -> None:
    topology = resolve(SPEC)

    assert topology == from_json(to_json(topology))


def test_a_dual_stack_topology_comes_back_equal_and_says_so_alone() -> None:
    topology = resolve(DUAL)

    assert topology == from_json(to_json(topology))
    assert '6":' in to_json(topology)
    assert '6":' not in to_json(resolve(SPEC))


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
