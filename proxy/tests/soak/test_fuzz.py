"""Thirty seconds of fuzzing in every test run; `make soak` takes longer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from random import Random

import pytest

from proxy.tests.soak.fuzz import Crash, Figures, Target, fuzz
from proxy.tests.soak.targets import targets

TARGETS = targets()


def fuzzed(name: str) -> Figures:
    """A target's share of the time."""
    (target,) = (each for each in TARGETS if each.name == name)
    return fuzz(target, seconds=30 / len(TARGETS), seed=Random().getrandbits(32))


@pytest.fixture(scope="module")
def running() -> Iterator[Mapping[str, Future[Figures]]]:
    """All targets, two at a time."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield {target.name: pool.submit(fuzzed, target.name) for target in TARGETS}


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_no_mutation_brings_out_anything_but_a_refusal(
    target: Target, running: Mapping[str, Future[Figures]]
) -> None:
    """B67, B75: junk is refused, and nothing else happens."""
    figures = running[target.name].result()

    assert figures.inputs > figures.refused > 0 or not target.refusals


def test_the_fuzzer_finds_a_parser_that_crashes() -> None:
    def feed(data: bytes) -> None:
        if data.startswith(b"\xff"):
            raise IndexError

    with pytest.raises(Crash, match=r"IndexError\(\) for b'\\xff"):
        fuzz(Target(name="broken", corpus=[b"abc"], feed=feed, refusals=()), seconds=30, seed=1)
