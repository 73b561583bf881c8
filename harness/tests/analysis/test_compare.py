"""Verdicts: a table of intervals, and how often a claim is made where there is nothing to find."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.analysis.compare import (
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
from harness.analysis.statistics import Estimate

OF, AGAINST = Side(configuration="of", metric="steady"), Side(configuration="against", metric="steady")
FIVE = Yardstick(practical=1.05, noise={})


def ratio(low: float | None, median: float, high: float | None) -> Estimate:
    return Estimate(median=median, low=low, high=high, coverage=0.97, rounds=6)


def compared(of: dict[int, float], against: dict[int, float], yardstick: Yardstick = FIVE) -> Comparison:
    return compare(
        factor="f",
        label="of / against",
        path="cross-node",
        of=OF,
        against=AGAINST,
        rounds={OF: of, AGAINST: against},
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
        (ratio(0.97, 1.00, 1.06), "steady", Word.INCONCLUSIVE),
        (ratio(0.90, 1.20, 1.30), "steady", Word.INCONCLUSIVE),
        (ratio(1.01, 1.03, 1.09), "steady", Word.INCONCLUSIVE),
        (ratio(None, 3.00, None), "steady", Word.INCONCLUSIVE),
        (None, "steady", Word.INCONCLUSIVE),
    ],
)
def test_verdict_follows_from_interval_and_threshold(found: Estimate | None, metric: str, word: Word) -> None:
    assert judge_ratio(found, metric, FIVE)[0] is word


def test_an_effect_within_the_noise_floor_is_no_claim() -> None:
    noisy = Yardstick(practical=1.05, noise={"steady": 1.25})

    assert judge_ratio(ratio(1.10, 1.20, 1.30), "steady", noisy)[0] is Word.INCONCLUSIVE
    assert judge_ratio(ratio(1.20, 1.30, 1.40), "steady", noisy)[0] is Word.COSTS
    assert judge_ratio(ratio(1.10, 1.20, 1.30), "rate", noisy)[0] is Word.COSTS


def test_rounds_are_paired_and_the_unpaired_left_out() -> None:
    ratios, differences = paired({1: 2.0, 2: 3.0, 4: 9.0}, {1: 1.0, 2: 2.0, 3: 5.0})
    assert ratios == {1: 2.0, 2: 1.5}
    assert differences == {1: 1.0, 2: 1.0}


def test_weather_that_both_sides_share_cancels() -> None:
    weather = {1: 1.0, 2: 3.0, 3: 0.2, 4: 7.0, 5: 1.5, 6: 0.6}

    found = compared({n: 1.2 * w for n, w in weather.items()}, weather)

    assert found.ratio is not None
    assert found.ratio.low == pytest.approx(1.2)
    assert found.ratio.high == pytest.approx(1.2)
    assert found.word is Word.COSTS


def test_a_side_limited_by_the_generator_enters_no_ratio() -> None:
    rounds = dict.fromkeys(range(1, 7), 1.0)
    found = compare(
        factor="f",
        label="l",
        path="p",
        of=OF,
        against=AGAINST,
        rounds={OF: rounds, AGAINST: rounds},
        limited={AGAINST: "the generator used 99% of a core"},
        yardstick=FIVE,
    )

    assert found.ratio is None
    assert found.word is Word.INCONCLUSIVE
    assert "at least that much, no ratio" in found.because


@given(values=st.lists(st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)), min_size=6, max_size=15))
def test_swapping_the_sides_inverts_the_ratio_and_mirrors_the_verdict(
    values: list[tuple[float, float]],
) -> None:
    of = {n: pair[0] for n, pair in enumerate(values)}
    against = {n: pair[1] for n, pair in enumerate(values)}

    there, back = compared(of, against), compared(against, of)

    assert there.ratio is not None
    assert back.ratio is not None
    assert there.ratio.median * back.ratio.median == pytest.approx(1)
    mirrored = {Word.COSTS: Word.SAVES, Word.SAVES: Word.COSTS}
    boundary = any(
        math.isclose(end, edge, rel_tol=1e-9)
        for end in (there.ratio.low, there.ratio.high, there.ratio.median)
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

    alone = as_family([slight])[0]
    crowded = as_family([slight, *[nothing] * 40, strong])

    assert (slight.word, alone.word) == (Word.COSTS, Word.COSTS)
    assert crowded[0].word is Word.INCONCLUSIVE
    assert "among 42 comparisons" in crowded[0].because
    assert crowded[-1].word is Word.COSTS
