"""Policies that match nothing, in place of each other and of nothing else."""

from __future__ import annotations

from harness.controlplane.document import document
from harness.controlplane.synthetic import policies, with_policies
from harness.plan.model import Configuration, Interception, Path
from harness.suite import load_suite
from harness.topology.allocator import resolve

DOCUMENT = document(resolve(load_suite("smoke").topology))
CONFIGURATION = Configuration(
    path=Path.CROSS_NODE, dataplane="pyztunnel", interception=Interception.REDIRECT, policies=100
)


def test_there_are_as_many_as_the_plan_says_half_of_each_action() -> None:
    made = policies(100)

    assert len(made) == CONFIGURATION.policies_made
    assert [each["action"] for each in made].count("Deny") == 50
    assert len({each["name"] for each in made}) == len(made)
    assert policies(0) == []


def test_replacing_them_leaves_everything_else_as_it_was() -> None:
    once = with_policies(DOCUMENT, 10)

    assert with_policies(once, 20) == with_policies(DOCUMENT, 20)
    assert with_policies(once, 0) == DOCUMENT
    assert once["workloads"] == DOCUMENT["workloads"]
