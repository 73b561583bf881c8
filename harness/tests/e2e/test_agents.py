"""What the agents of a whole testbed say of themselves, in images as on the host."""

from __future__ import annotations

from harness.tests.e2e.beds import Pods


def test_rules_are_written_by_python_iptables(pods: Pods) -> None:
    """With libraries that it cannot read (iptables 1.8.11), agents fall back to iptables-restore."""
    said = {
        node: (reply.document["applier"], reply.document["applier_why"])
        for node, reply in pods.bed.ask_agents("hello").items()
    }

    expected = ("python-iptables", "the first to be tried")
    assert {"a": expected, "b": expected} == said
