"""Verdicts: a table of intervals, and how often a claim is made where there is nothing to find."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.compare import (
    Bound,
    Comparison,
    Side,
    Word,
    Yardstick,
    as_family,
    compare,
    holm,
    judge_ratio,
    paired,
)
from harness.analysis.measures import METRICS
from harness.analysis.statistics import Estimate

OF, AGAINST = Side(configuration="of", metric="steady"), Side(configuration="against", metric="steady")
FIVE = Yardstick(resolution=dict.fromkeys(METRICS, 1.05), noise={})
LEVEL = 0.05


def ratio(low: float | None, median: float, high: float | None) -> Estimate:
    return Estimate(centre=median, low=low, high=high, coverage=0.97, rounds=6)


def compared(of: dict[int, float], against: dict[int, float], yardstick: Yardstick = FIVE) -> Comparison:
    return compare(
        factor="f",
        label="of / against",
        path="cross-node",
        of=OF,
        against=AGAINST,
        values={
            side: {(number, 0): value for number, value in rounds.items()}
            for side, rounds in ((OF, of), (AGAINST, against))
        },
        limited={},
        yardstick=yardstick,
    )


@pytest.mark.parametrize(
    ("found", "metric", "word"),
    [
        (ratio(1.10, 1.20, 1.30), "steady", Word.COSTS),
        (ratio(0.70, 0.80, 0.90), "steady", Word.SAVES),
        (ratio(1.10, 1.20, 1.30), "requests", Word.SAVES),
        (ratio(0.70, 0.80, 0.90), "requests", Word.COSTS),
        (ratio(0.97, 1.00, 1.04), "steady", Word.NO_DIFFERENCE),
        (ratio(1.01, 1.02, 1.04), "steady", Word.NO_DIFFERENCE),
        (ratio(0.97, 1.00, 1.06), "steady", Word.OPEN),
        (ratio(0.90, 1.20, 1.30), "steady", Word.OPEN),
        (ratio(1.01, 1.03, 1.09), "steady", Word.COSTS),
        (ratio(None, 3.00, None), "steady", Word.OPEN),
        (None, "steady", Word.OPEN),
    ],
)
def test_verdict_follows_from_interval_and_threshold(found: Estimate | None, metric: str, word: Word) -> None:
    assert judge_ratio(found, "cross-node", metric, FIVE)[0] is word


def test_an_effect_within_the_noise_floor_is_no_claim() -> None:
    noisy = replace(FIVE, noise={("cross-node", "steady"): 1.25})

    assert judge_ratio(ratio(1.10, 1.20, 1.30), "cross-node", "steady", noisy)[0] is Word.OPEN
    assert judge_ratio(ratio(1.20, 1.30, 1.40), "cross-node", "steady", noisy)[0] is Word.COSTS
    assert judge_ratio(ratio(1.10, 1.20, 1.30), "cross-node", "rate", noisy)[0] is Word.COSTS
    assert judge_ratio(ratio(1.10, 1.20, 1.30), "same-node", "steady", noisy)[0] is Word.COSTS


def test_rounds_are_paired_and_the_unpaired_left_out() -> None:
    of, against = {(1, 0): 2.0, (2, 0): 3.0, (4, 0): 9.0}, {(1, 0): 1.0, (2, 0): 2.0, (3, 0): 5.0}
    assert paired(of, against) == {1: [(2.0, 1.0)], 2: [(3.0, 2.0)]}


def test_what_shares_a_bout_is_compared_there_alone() -> None:
    """The reference stands in each bout, and is another one's neighbour in each."""
    of = {(1, 0): 2.0, (1, 1): 20.0, (2, 1): 30.0}
    against = {(1, 1): 10.0, (1, 2): 70.0, (2, 1): 10.0}
    assert paired(of, against) == {1: [(20.0, 10.0)], 2: [(30.0, 10.0)]}


def test_what_shares_no_bout_is_compared_by_round() -> None:
    assert paired({(1, 0): 2.0, (1, 1): 4.0}, {(1, 2): 3.0}) == {1: [(3.0, 3.0)]}


def test_a_value_of_zero_takes_the_ratio_and_leaves_the_difference() -> None:
    """Nothing arrived in one round: to leave that round out would be to choose among the rounds."""
    found = compared(dict.fromkeys(range(6), 5.0) | {3: 0.0}, {n: 20.0 + n for n in range(6)})

    assert (found.ratio, found.per_round) == (None, {})
    assert found.difference is not None
    assert found.word is Word.SAVES
    assert "not above 0 in round 3" in found.because
    assert compared(dict.fromkeys(range(3), 5.0) | {1: 0.0}, dict.fromkeys(range(3), 1.0)).word is Word.OPEN


def test_an_open_question_says_what_it_takes_and_any_says_what_could_be_seen() -> None:
    random = np.random.default_rng(5)
    noise = dict(enumerate(np.exp(random.normal(0.03, 0.08, 8))))
    found = compared(noise, dict.fromkeys(range(8), 1.0))

    assert found.word is Word.OPEN
    assert found.seen is not None
    assert found.needs is not None
    assert found.needs > 8
    assert 1.05 < found.seen < 1.25


def test_weather_that_both_sides_share_cancels() -> None:
    weather = {1: 1.0, 2: 3.0, 3: 0.2, 4: 7.0, 5: 1.5, 6: 0.6}

    found = compared({n: 1.2 * w for n, w in weather.items()}, weather)

    assert found.ratio is not None
    assert found.ratio.low == pytest.approx(1.2)
    assert found.ratio.high == pytest.approx(1.2)
    assert found.word is Word.COSTS


@pytest.mark.parametrize(
    ("metric", "limited", "size", "bound", "word"),
    [
        # a throughput that was limited is at least that high
        ("requests", "against", 0.5, Bound.AT_MOST, Word.COSTS),
        ("requests", "against", 1.5, Bound.AT_MOST, Word.OPEN),
        ("requests", "of", 1.5, Bound.AT_LEAST, Word.SAVES),
        ("requests", "of", 0.5, Bound.AT_LEAST, Word.OPEN),
        # a latency that was limited is at most that high
        ("steady", "against", 1.5, Bound.AT_LEAST, Word.COSTS),
        ("steady", "of", 0.5, Bound.AT_MOST, Word.SAVES),
        ("steady", "of", 1.5, Bound.AT_MOST, Word.OPEN),
        ("steady", "both", 1.5, Bound.NONE, Word.OPEN),
        # no difference cannot be told where one side is a bound
        ("steady", "of", 1.0, Bound.AT_MOST, Word.OPEN),
    ],
)
def test_what_the_generator_limited_makes_a_ratio_a_bound(
    metric: str, limited: str, size: float, bound: Bound, word: Word
) -> None:
    sides = {name: Side(configuration=name, metric=metric) for name in ("of", "against")}
    found = compare(
        factor="f",
        label="l",
        path="p",
        **sides,
        values={
            sides["of"]: {(n, 0): size * (1 + n / 1000) for n in range(6)},
            sides["against"]: {(n, 0): 1.0 for n in range(6)},
        },
        limited={
            side: "the generator used 99% of a core"
            for name, side in sides.items()
            if limited in {name, "both"}
        },
        yardstick=FIVE,
    )

    assert (found.bound, found.word) == (bound, word)
    assert "the generator used 99% of a core" in found.because


@given(values=st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=6, max_size=15))
def test_swapping_the_sides_inverts_the_ratio_and_mirrors_the_verdict(
    values: list[tuple[float, float]],
) -> None:
    of = {n: pair[0] for n, pair in enumerate(values)}
    against = {n: pair[1] for n, pair in enumerate(values)}

    there, back = compared(of, against), compared(against, of)

    assert there.ratio is not None
    assert back.ratio is not None
    assert there.ratio.centre * back.ratio.centre == pytest.approx(1)
    mirrored = {Word.COSTS: Word.SAVES, Word.SAVES: Word.COSTS}
    boundary = any(
        math.isclose(end, edge, rel_tol=1e-9)
        for end in (there.ratio.low, there.ratio.high, there.ratio.centre)
        for edge in (1, 1.05, 1 / 1.05)
        if end is not None
    )
    assert boundary or back.word is mirrored.get(there.word, there.word)


@pytest.mark.parametrize("rounds", [6, 10])
def test_claims_between_equal_configurations_are_rarer_than_the_interval_allows(rounds: int) -> None:
    """2,000 A/A comparisons with 10 % of noise a cell."""
    random = np.random.default_rng(rounds)
    claims = 0
    for _ in range(2000):
        of, against = np.exp(random.normal(0, 0.1, (2, rounds)))
        found = compared(dict(enumerate(of)), dict(enumerate(against)))
        claims += found.word in {Word.COSTS, Word.SAVES}

    assert claims / 2000 <= 1 - 0.95 + 0.01


@pytest.mark.parametrize(
    ("rounds", "noise", "effect", "power"), [(10, 0.02, 1.10, 0.95), (6, 0.02, 1.15, 0.95)]
)
def test_a_real_difference_is_found(rounds: int, noise: float, effect: float, power: float) -> None:
    random = np.random.default_rng(rounds)
    found = 0
    for _ in range(500):
        weather = np.exp(random.normal(0, 0.3, rounds))
        of, against = weather * np.exp(random.normal(0, noise, (2, rounds)))
        found += compared(dict(enumerate(effect * of)), dict(enumerate(against))).word is Word.COSTS

    assert found / 500 >= power


def test_holm_is_as_in_the_book() -> None:
    """Worked example: 0.01, 0.04, 0.03, 0.005 come to 0.03, 0.06, 0.06, 0.02."""
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_never_lowers_a_p_nor_changes_their_order(values: list[float]) -> None:
    adjusted = holm(values)
    assert all(p <= found <= 1 for p, found in zip(values, adjusted, strict=True))
    ordered = [adjusted[index] for index in sorted(range(len(values)), key=values.__getitem__)]
    assert ordered == sorted(ordered)


def test_a_claim_that_many_looks_explain_is_withdrawn() -> None:
    random = np.random.default_rng(3)
    weather = np.exp(random.normal(0, 0.01, 8))
    slight = compared(dict(enumerate(np.exp(random.normal(0.12, 0.08, 8)))), dict(enumerate(weather)))
    nothing = compared(dict(enumerate(np.exp(random.normal(0, 0.08, 8)))), dict(enumerate(weather)))
    strong = compared(dict(enumerate(2 * weather)), dict.fromkeys(range(8), 1.0))

    alone = as_family([slight], LEVEL)[0]
    crowded = as_family([slight, *[nothing] * 40, strong], LEVEL)

    assert (slight.word, alone.word) == (Word.COSTS, Word.COSTS)
    assert crowded[0].word is Word.OPEN
    assert "among 42 comparisons" in crowded[0].because
    assert crowded[-1].word is Word.COSTS
