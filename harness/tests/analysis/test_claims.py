"""Each claim asked with nothing measured, with data that confirm it, and with data that refute it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.claims import CLAIMS, Ruling, judge_claims
from harness.analysis.claims.model import Grounds, Verdict
from harness.analysis.compare import Comparison, Side, Word
from harness.analysis.ledger import Ledger
from harness.analysis.rounds import Measure
from harness.analysis.statistics import Estimate
from harness.plan.model import Configuration, Interception, Path, SameNode

REDIRECT = Configuration(path=Path.CROSS_NODE, dataplane="pyztunnel", interception=Interception.REDIRECT)
TPROXY = replace(REDIRECT, interception=Interception.TPROXY)
LOCAL = replace(REDIRECT, path=Path.SAME_NODE)
PLAIN = replace(LOCAL, same_node=SameNode.PLAINTEXT)
OUT = replace(REDIRECT, path=Path.OUT_OF_MESH)
NOTHING = Grounds(
    configurations=(),
    ledgers={},
    without=lambda _: {},
    measures={},
    first_packet=(),
    factors=(),
    costs=(),
    break_even=None,
)


def ledger(
    configuration: Configuration,
    figures: Mapping[str, float] | None = None,
    totals: Mapping[str, float] | None = None,
) -> Ledger:
    return Ledger(configuration=configuration, cells=6, totals=totals or {}, figures=figures or {})


def met(check: str, *ledgers: Ledger) -> Grounds:
    """Evidence of cells that hold but for a check; those that hold altogether are none."""
    found = {each.configuration.key: each for each in ledgers}
    return replace(NOTHING, without=lambda name: found if name == check else {})


def seen(word: Word, metric: str, factor: str, of: Configuration = REDIRECT, against: str = "") -> Comparison:
    size = {Word.COSTS: 2.0, Word.SAVES: 0.5}.get(word, 1.0)
    return Comparison(
        factor=factor,
        label=factor,
        path=of.path.value,
        of=Side(configuration=of.key, metric=metric),
        against=Side(configuration=of.key, metric=against or metric),
        ratio=Estimate(centre=size, low=size * 0.9, high=size * 1.1, coverage=0.95, rounds=6),
        per_round={},
        difference=None,
        p=0.001,
        word=word,
        because="",
    )


def first(word: Word) -> Comparison:
    return seen(word, "first.warm", "first-packet", against="steady")


def shares(share: float) -> dict[Side, Measure]:
    measure = Measure(
        configuration=replace(REDIRECT, path=Path.SERVICE),
        metric="endpoints.busiest",
        estimate=Estimate(centre=share, low=None, high=None, coverage=None, rounds=6),
        values={(1, 0): share},
        n=100,
        pooled=np.empty(0),
        percentiles={},
        at_least="",
    )
    return {measure.side: measure}


def hits(count: float) -> dict[str, float]:
    return {"rule_hits_per_connection": count}


def wire(hbone: float, app: float, streams: float = 0.0) -> dict[str, float]:
    return {"hbone_packets": hbone, "app_packets": app, "streams": streams}


REUSE = seen(Word.SAVES, "first.warm", "reuse")
LATER = [first(Word.COSTS)]
BOTH = [
    seen(Word.SAVES, metric, factor)
    for factor in ("conntrack", "reuse")
    for metric in ("steady", "requests", "transfer")
]
SWITCHES = [seen(Word.COSTS, f"{kind}.first.warm", "first-packet") for kind in ("switches", "cpu")]
POLICY = {"policy_per_connection": 1.0, "policy_per_request": 0.1}
ANSWERED = [ledger(each, {"right_answers": 1.0}) for each in (LOCAL, REDIRECT, OUT)]

TABLE = [
    (1, met("interception", ledger(REDIRECT, hits(1)), ledger(TPROXY, hits(9))), "holds"),
    (1, met("interception", ledger(REDIRECT, hits(0.5))), "does not hold"),
    (1, met("interception", ledger(TPROXY, hits(0))), "does not hold"),
    (2, met("answers", *ANSWERED), "holds"),
    (2, met("answers", *ANSWERED[:2]), "holds if"),
    (2, met("answers", *ANSWERED[:2], ledger(OUT, {"right_answers": 0.99})), "does not hold"),
    (
        3,
        replace(
            NOTHING,
            ledgers={REDIRECT.key: ledger(REDIRECT, POLICY)},
            factors=[seen(Word.COSTS, "first.warm", "mesh")],
        ),
        "holds",
    ),
    (
        3,
        replace(
            NOTHING,
            ledgers={REDIRECT.key: ledger(REDIRECT, POLICY)},
            factors=[seen(Word.SAVES, "first.warm", "mesh")],
        ),
        "does not hold",
    ),
    (
        4,
        met(
            "wire_split",
            ledger(REDIRECT, totals=wire(90, 0, 9)),
            ledger(OUT, totals=wire(0, 90)),
            ledger(PLAIN, totals=wire(0, 0)),
        ),
        "holds",
    ),
    (
        4,
        met(
            "wire_split",
            ledger(REDIRECT, totals=wire(90, 0, 9)),
            ledger(OUT, totals=wire(0, 90)),
            ledger(LOCAL, totals=wire(0, 0, 9)),
        ),
        "holds if",
    ),
    (4, met("wire_split", ledger(LOCAL, totals=wire(0, 0, 9))), "holds if"),
    (4, met("wire_split", ledger(REDIRECT, totals=wire(90, 5, 9))), "does not hold"),
    (4, met("wire_split", ledger(PLAIN, totals=wire(0, 0, 9))), "does not hold"),
    (5, met("interception", ledger(REDIRECT, hits(1)), ledger(TPROXY, hits(9))), "holds if"),
    (5, met("interception", ledger(REDIRECT, hits(4)), ledger(TPROXY, hits(9))), "does not hold"),
    (5, met("interception", ledger(REDIRECT, hits(1)), ledger(TPROXY, hits(1))), "does not hold"),
    (6, met("decisions", ledger(REDIRECT, POLICY)), "holds"),
    (6, met("decisions", ledger(REDIRECT, {**POLICY, "policy_per_request": 1.0})), "does not hold"),
    (7, replace(NOTHING, factors=[REUSE]), "holds if"),
    (7, replace(NOTHING, factors=[REUSE], measures=shares(0.4)), "holds"),
    (7, replace(NOTHING, factors=[REUSE], measures=shares(1.0)), "does not hold"),
    (7, replace(NOTHING, factors=[seen(Word.COSTS, "first.warm", "reuse")]), "does not hold"),
    (8, met("wire_split", ledger(OUT, totals=wire(0, 90))), "holds"),
    (8, met("wire_split", ledger(OUT, totals=wire(3, 90))), "does not hold"),
    (9, replace(NOTHING, first_packet=LATER), "holds if"),
    (9, replace(NOTHING, first_packet=LATER, factors=BOTH[:3]), "holds if"),
    (9, replace(NOTHING, first_packet=LATER, factors=BOTH), "holds"),
    (
        9,
        replace(NOTHING, first_packet=LATER, factors=[*BOTH, seen(Word.COSTS, "steady", "conntrack")]),
        "holds if",
    ),
    (9, replace(NOTHING, first_packet=[first(Word.SAVES)]), "does not hold"),
    (10, replace(NOTHING, costs=SWITCHES), "holds"),
    (10, replace(NOTHING, costs=[seen(Word.SAVES, "switches.first.warm", "first-packet")]), "does not hold"),
    (12, replace(NOTHING, factors=[seen(Word.COSTS, "steady", "policies")]), "holds"),
    (12, replace(NOTHING, factors=[seen(Word.NO_DIFFERENCE, "steady", "policies")]), "does not hold"),
]


def ruled(number: int, grounds: Grounds) -> Ruling:
    return CLAIMS[number - 1][1](grounds)


def test_nothing_measured_is_no_verdict() -> None:
    assert {claim.verdict for claim in judge_claims(NOTHING)} == {Verdict.NOT_MEASURED}


@pytest.mark.parametrize(("number", "grounds", "verdict"), TABLE)
def test_a_verdict_follows_from_what_was_measured(number: int, grounds: Grounds, verdict: str) -> None:
    ruling = ruled(number, grounds)
    assert (ruling.verdict.value, bool(ruling.because)) == (verdict, True), ruling.because


def test_every_claim_that_can_be_measured_is_confirmed_and_refuted_here() -> None:
    asked = {number: {verdict for each, _, verdict in TABLE if each == number} for number in range(1, 13)}
    assert [number for number, verdicts in asked.items() if "does not hold" not in verdicts] == [11]
    assert [number for number, verdicts in asked.items() if not verdicts & {"holds", "holds if"}] == [11]


def test_what_was_not_measured_is_named() -> None:
    assert (
        "tunnel reuse do to them was not measured"
        in ruled(9, replace(NOTHING, first_packet=LATER, factors=BOTH[:3])).because
    )
    assert "out-of-mesh was not measured" in ruled(2, met("answers", *ANSWERED[:2])).because
    local = ruled(4, met("wire_split", ledger(LOCAL, totals=wire(0, 0, 9)))).because
    assert "not measured: across nodes in tunnels, out of the mesh as plain TCP" in local


def test_figures_in_a_sentence_are_the_run_s() -> None:
    tracked = ledger(REDIRECT, {**hits(1), "routes_per_connection": 3.0})
    because = ruled(
        5, met("interception", tracked, ledger(TPROXY, {**hits(7), "routes_per_connection": 3.0}))
    ).because

    assert "met them 7.00 times" in because
    assert "resolved 3.00 times per connection" in because
