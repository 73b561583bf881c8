"""Rules per packet over filler rules, and conntrack entries per leg: by the walk's own counters."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.analysis.judge import JudgedCell
from harness.analysis.kernel import CLIENT, TARGET, Kernel, kernels
from harness.plan.model import Configuration, Interception, Path
from harness.tests.evidence import walk


def _kernel(level: Interception, *, filler_rules: int = 0, cells: int = 2) -> Kernel:
    configuration = Configuration(
        path=Path.CROSS_NODE, dataplane="pyztunnel", interception=level, filler_rules=filler_rules
    )
    case = walk.honest(configuration)
    cell: Any = SimpleNamespace(configuration=configuration, case=case, usable=True)
    return kernels([cast("JudgedCell", cell)] * cells)[configuration.key]


def test_with_redirect_filler_rules_are_walked_once_a_connection_and_with_tproxy_by_every_packet() -> None:
    redirect = _kernel(Interception.REDIRECT, filler_rules=1000)
    tproxy = _kernel(Interception.TPROXY, filler_rules=1000)

    assert redirect.walked_per_packet == pytest.approx(1000 / walk.PACKETS)
    assert tproxy.walked_per_packet == pytest.approx(1000)
    assert redirect.hits == redirect.connections
    assert tproxy.hits == tproxy.connections * walk.PACKETS


def test_without_filler_rules_only_hits_are_left() -> None:
    found = _kernel(Interception.TPROXY)

    assert found.walked_per_packet == 0
    assert 0 < found.hits_per_packet <= 1


@pytest.mark.parametrize("level", [Interception.REDIRECT, Interception.TPROXY])
def test_each_leg_in_each_namespace_is_as_predicted(level: Interception) -> None:
    found = _kernel(level)

    assert all(each.found == each.predicted for each in found.entries)
    assert {each.namespace for each in found.entries} == {CLIENT, TARGET}
    assert sum(each.found for each in found.entries) > 0


def test_without_conntrack_the_tables_are_empty() -> None:
    assert _kernel(Interception.TPROXY_NOTRACK).entries == ()
