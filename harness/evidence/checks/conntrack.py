"""The connection tracking tables hold what is predicted, per namespace and leg, and nothing else.

What was dumped is first held against the kernel's own count: an entry that a dump does not show, or that
cannot be read, would pass for one that is not there.
"""

from __future__ import annotations

from collections import Counter

from harness.evidence.case import Case
from harness.evidence.laws import Law, Outcome, equal, judge
from harness.evidence.prediction import Leg, Prediction, Shape, predict, tally
from harness.evidence.sources.conntrack import NAME, Entry
from harness.evidence.sources.document import Unreadable

UNDERLAY = "underlay"


def check(case: Case) -> Outcome:
    """Entries per leg are as predicted at client and target; none elsewhere, none before, none unseen."""
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
        found.update(tally(_entries(case, name)))
        laws += _table(case, name)
    because = f"predicted for {case.configuration.interception.value}"
    return laws + [
        equal(f"{', '.join(names)} {leg.value}", found[leg], expected.get(leg, 0), because)
        for leg in Leg
        if leg in found or leg in expected
    ]


def _namespace(case: Case, name: str, expected: dict[Leg, int]) -> list[Law]:
    found = tally(_entries(case, name))
    level = case.configuration.interception.value
    laws = _table(case, name)
    laws += [
        equal(f"{name} {leg.value}", found.get(leg, 0), expected.get(leg, 0), f"predicted for {level}")
        for leg in Leg
        if leg in found or leg in expected
    ]
    if not found and not expected:
        laws.append(equal(f"{name} entries", 0, 0, f"predicted for {level}"))
    return laws


def _entries(case: Case, name: str) -> tuple[Entry, ...]:
    if any(name not in part for part in (case.conntrack.before, case.conntrack.entries)):
        raise Unreadable(NAME, f"nothing was read of {name}")
    return case.conntrack.entries[name]


def _table(case: Case, name: str) -> list[Law]:
    """What holds of a table whatever it is expected to hold."""
    if name not in case.conntrack.counted or name not in case.conntrack.others:
        raise Unreadable(NAME, f"nothing was counted in {name}")
    dumped = len(case.conntrack.entries[name]) + case.conntrack.others[name]
    return [
        equal(f"{name} entries at the start", case.conntrack.before[name], 0, "the table was flushed"),
        equal(f"{name} entries dumped", dumped, case.conntrack.counted[name], "the kernel's own count"),
    ]
