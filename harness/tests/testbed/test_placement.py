"""What a lane can carry, and what it cannot."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.plan.model import Interception
from harness.testbed.placement import Placement

MIXED = Placement(dataplane={"a": "pyztunnel", "b": "envoy"}, interception=Interception.REDIRECT)


def test_one_data_plane_is_every_node_s() -> None:
    placement = Placement(dataplane="pyztunnel", interception=Interception.TPROXY, filler_rules=7)

    assert placement.by_dataplane(["a", "b"]) == {"pyztunnel": ["a", "b"]}
    assert placement.carries
    assert placement.words == "pyztunnel tproxy, 7 filler rules"


def test_each_node_may_have_its_own() -> None:
    assert MIXED.by_dataplane(["a", "b"]) == {"pyztunnel": ["a"], "envoy": ["b"]}
    assert MIXED.on("a").enrols("a")
    assert not MIXED.on("b").enrols("b")
    assert MIXED.words == "envoy+pyztunnel redirect"
    assert {"canary", "refusal"} == set(MIXED.lacks)
    with pytest.raises(UsageError, match="node 'c': no data plane is named, only for a, b"):
        MIXED.by_dataplane(["a", "c"])


@pytest.mark.parametrize("placement", [MIXED, Placement(dataplane="none", interception=Interception.NONE)])
def test_a_placement_survives_saving(placement: Placement) -> None:
    assert Placement.from_document(placement.document()) == placement


@pytest.mark.parametrize(
    ("dataplane", "interception", "said"),
    [
        ("none", Interception.REDIRECT, "nothing would answer captured connections"),
        ({"a": "none", "b": "envoy"}, Interception.REDIRECT, "a proxy on all nodes or on none"),
        ("envoi", Interception.REDIRECT, "unknown data plane 'envoi'; known: envoy, none, pyztunnel"),
    ],
)
def test_what_would_leave_connections_unanswered_is_refused(
    dataplane: str | dict[str, str], interception: Interception, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        Placement(dataplane=dataplane, interception=interception)


def test_a_proxy_may_stand_by_while_nothing_is_captured() -> None:
    assert Placement(dataplane="pyztunnel", interception=Interception.NONE).carries
