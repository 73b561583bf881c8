"""Connection tracking entries per level and path: literal figures for 10 connections and 3 tunnels."""

from __future__ import annotations

import pytest

from harness.evidence.prediction import Leg, Prediction, Shape, leg, predict, tally
from harness.evidence.sources.conntrack import Entry
from harness.plan.model import Interception

OUT, IN, TUNNEL, APP = Leg.CAPTURED_OUTBOUND, Leg.CAPTURED_INBOUND, Leg.TUNNEL, Leg.APP

MESH = (True, True, True, False)
MESH_PLAINTEXT = (True, True, False, False)
MESH_HANDED_OVER = (True, True, False, True)
OUT_OF_MESH = (True, False, False, False)
INTO_MESH = (False, True, False, False)
DIRECT = (False, False, False, False)


@pytest.mark.parametrize(
    ("level", "shape", "client", "target"),
    [
        # level, (captured: client, target; tunnelled, handed over), entries at the client, at the target
        ("redirect", MESH, {OUT: 10, TUNNEL: 3}, {TUNNEL: 3, APP: 10}),
        ("redirect", MESH_PLAINTEXT, {OUT: 10, APP: 10}, {IN: 10, APP: 10}),
        ("redirect", MESH_HANDED_OVER, {OUT: 10}, {APP: 10}),
        ("redirect", OUT_OF_MESH, {OUT: 10, APP: 10}, {}),
        ("redirect", INTO_MESH, {}, {IN: 10, APP: 10}),
        ("redirect", DIRECT, {}, {}),
        ("tproxy", MESH, {APP: 10, TUNNEL: 3}, {TUNNEL: 3, APP: 10}),
        ("tproxy", MESH_PLAINTEXT, {APP: 20}, {APP: 20}),
        ("tproxy", MESH_HANDED_OVER, {APP: 10}, {APP: 10}),
        ("tproxy", OUT_OF_MESH, {APP: 20}, {}),
        ("tproxy", INTO_MESH, {}, {APP: 20}),
        ("tproxy", DIRECT, {}, {}),
        *(("tproxy-notrack", shape, {}, {}) for shape in (MESH, MESH_HANDED_OVER, OUT_OF_MESH, INTO_MESH)),
        ("none", DIRECT, {}, {}),
    ],
)
def test_prediction(
    level: str, shape: tuple[bool, bool, bool, bool], client: dict[Leg, int], target: dict[Leg, int]
) -> None:
    outbound, inbound, tunnelled, handed_over = shape

    found = predict(
        Shape(
            interception=Interception(level),
            captured_outbound=outbound,
            captured_inbound=inbound,
            tunnelled=tunnelled,
            handed_over=handed_over,
            connections=10,
            tunnels=3,
        )
    )

    assert found == Prediction(client=client, target=target)


@pytest.mark.parametrize("level", ["redirect", "tproxy"])
@pytest.mark.parametrize("tunnels", [10, 1])
def test_reuse_changes_the_tunnels_leg_alone(level: str, tunnels: int) -> None:
    shape = Shape(
        interception=Interception(level),
        captured_outbound=True,
        captured_inbound=True,
        tunnelled=True,
        connections=10,
        tunnels=tunnels,
    )

    found = predict(shape)

    assert found.client[TUNNEL] == found.target[TUNNEL] == tunnels
    assert found.target[APP] == 10


@pytest.mark.parametrize(
    ("port", "reply_port", "expected"),
    [
        (8080, 15001, OUT),
        (8080, 15006, IN),
        (15008, 15008, TUNNEL),
        (8080, 8080, APP),
        (9003, 9003, APP),
        (53, 53, Leg.OTHER),
        (8080, 9001, Leg.OTHER),
    ],
)
def test_leg_is_told_by_ports(port: int, reply_port: int, expected: Leg) -> None:
    assert leg(_entry(port, reply_port)) is expected


def test_tally_leaves_out_what_is_not_there() -> None:
    assert tally([_entry(8080, 8080), _entry(8080, 8080), _entry(15008, 15008)]) == {APP: 2, TUNNEL: 1}


def _entry(port: int, reply_port: int) -> Entry:
    return Entry(
        source="10.0.0.1",
        destination="10.0.0.2",
        destination_port=port,
        reply_source="10.0.0.2",
        reply_source_port=reply_port,
    )
