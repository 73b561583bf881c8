"""One testbed per engine for all tests of this folder that only talk through it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.tests.e2e.beds import Pods, standard_bed

ENGINES = [
    pytest.param("netns", marks=pytest.mark.netns),
    pytest.param("docker", marks=pytest.mark.docker),
]


@pytest.fixture(scope="package", params=ENGINES)
def pods(request: pytest.FixtureRequest) -> Iterator[Pods]:
    """A testbed that is up, with real proxies."""
    with standard_bed(request.param) as bed:
        yield Pods(bed)
