"""Thirty seconds of fuzzing in every test run; `make soak` takes longer."""

from __future__ import annotations

from random import Random

import pytest

from proxy.tests.soak.fuzz import Crash, Target, fuzz
from proxy.tests.soak.targets import targets

TARGETS = targets()


@pytest.mark.parametrize("target", TARGETS, ids=[target.name for target in TARGETS])
def test_no_mutation_brings_out_anything_but_a_refusal(target: Target) -> None:
    """B67, B75: junk is refused, and nothing else happens."""
    figures = fuzz(target, seconds=30 / len(TARGETS), seed=Random().getrandbits(32))

    assert figures.inputs > figures.refused > 0 or not target.refusals


def test_the_fuzzer_finds_a_parser_that_crashes() -> None:
    def feed(data: bytes) -> None:
        if data.startswith(b"\xff"):
            raise IndexError

    with pytest.raises(Crash, match=r"IndexError\(\) for b'\\xff"):
        fuzz(Target(name="broken", corpus=[b"abc"], feed=feed, refusals=()), seconds=30, seed=1)
