"""The connection tracking tables hold what is predicted, per namespace and leg, and nothing else."""

from __future__ import annotations

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, equal, judge
from harness.evidence.prediction import Leg, Shape, predict, tally
from harness.evidence.sources.conntrack import NAME
from harness.evidence.sources.document import Unreadable

UNDERLAY = "underlay"


def check(case: Case) -> Outcome:
    """Entries per leg are as predicted at client and target; there are none elsewhere, and none before."""
    wanted = expected(case)
    namespaces = (UNDERLAY, *case.namespaces)
    return judge([law for name in namespaces for law in _namespace(case, name, wanted.get(name, {}))])


def expected(case: Case) -> dict[str, dict[Leg, int]]:
    """Namespace -> leg -> entries, in the two namespaces in which there can be any."""
    tunnels = 0
    if case.tunnelled and case.outbound_proxy is not None:
        tunnels = case.tunnels.growth(case.outbound_proxy, "tunnels_opened")
    prediction = predict(
        Shape(
            interception=case.configuration.interception,
            captured_outbound=case.outbound_proxy is not None,
            captured_inbound=case.inbound_proxy is not None,
            tunnelled=case.tunnelled,
            handed_over=case.handed_over,
            connections=case.opened,
            tunnels=tunnels,
        )
    )
    return {case.client.netns: prediction.client, case.target.netns: prediction.target}


def _namespace(case: Case, name: str, expected: dict[Leg, int]) -> list[Law]:
    if name not in case.conntrack.entries or name not in case.conntrack.before:
        raise Unreadable(NAME, f"nothing was read of {name}")
    found = tally(case.conntrack.entries[name])
    level = case.configuration.interception.value
    laws = [equal(f"{name} entries at the start", case.conntrack.before[name], 0, "the table was flushed")]
    laws += [
        equal(f"{name} {leg.value}", found.get(leg, 0), expected.get(leg, 0), f"predicted for {level}")
        for leg in Leg
        if leg in found or leg in expected
    ]
    if not found and not expected:
        laws.append(equal(f"{name} entries", 0, 0, f"predicted for {level}"))
    return laws
