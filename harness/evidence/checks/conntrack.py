"""The connection tracking tables hold what is predicted, per namespace and leg, and nothing else."""

from __future__ import annotations

from collections import Counter

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, equal, judge
from harness.evidence.prediction import Leg, Prediction, Shape, predict, tally
from harness.evidence.sources.conntrack import NAME
from harness.evidence.sources.document import Unreadable

UNDERLAY = "underlay"


def check(case: Case) -> Outcome:
    """Entries per leg are as predicted at client and target; there are none elsewhere, and none before."""
    prediction = predicted(case)
    expected = {case.client.netns: prediction.client}
    namespaces = (UNDERLAY, *case.namespaces)
    if len(case.targets) == 1:
        expected[case.targets[0].netns] = prediction.target
        return judge([law for name in namespaces for law in _namespace(case, name, expected.get(name, {}))])
    spread = {target.netns for target in case.targets}
    laws = [
        law
        for name in namespaces
        if name not in spread
        for law in _namespace(case, name, expected.get(name, {}))
    ]
    return judge([*laws, *_together(case, sorted(spread), prediction.target)])


def predicted(case: Case) -> Prediction:
    """Leg -> entries at the client and at the target, the two places in which there can be any."""
    tunnels = 0
    if case.tunnelled and case.outbound_proxy is not None:
        tunnels = case.tunnels.growth(case.outbound_proxy, "tunnels_opened")
    return predict(
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


def _together(case: Case, names: list[str], expected: dict[Leg, int]) -> list[Law]:
    """A service's endpoints share the connections as chance has it; their sum is known."""
    found: Counter[Leg] = Counter()
    laws = []
    for name in names:
        if name not in case.conntrack.entries or name not in case.conntrack.before:
            raise Unreadable(NAME, f"nothing was read of {name}")
        found.update(tally(case.conntrack.entries[name]))
        start = case.conntrack.before[name]
        laws.append(equal(f"{name} entries at the start", start, 0, "the table was flushed"))
    because = f"predicted for {case.configuration.interception.value}"
    return laws + [
        equal(f"{', '.join(names)} {leg.value}", found[leg], expected.get(leg, 0), because)
        for leg in Leg
        if leg in found or leg in expected
    ]


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
