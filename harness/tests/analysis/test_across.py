"""Runs against each other: what changed is found, what the machine did is not blamed on the mesh."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from harness.analysis.across import Change, across, unlike
from harness.analysis.compare import Side
from harness.analysis.excerpt import Excerpt, Fingerprint, Kept
from harness.analysis.measures import METRICS
from harness.plan.model import Configuration, Interception, Path

MESH, NONE = "cross-node.pyztunnel.redirect.reuse-on", "cross-node.none"
FINGERPRINT = Fingerprint(
    suite="5", topology="t", engine="netns", kernel="6.18", machine="2 cores", applier="python-iptables"
)


def made(run: str, effect: float = 1.0, *, machine: float = 1.0, rounds: int = 10, seed: int = 1) -> Excerpt:
    """A run whose mesh takes `effect` times as long, on a machine that takes `machine` times as long."""
    random = np.random.default_rng([seed, len(run), ord(run[-1])])

    def kept(configuration: str, metric: str, value: float) -> Kept:
        values = value * np.exp(random.normal(0, 0.01, rounds))
        return Kept(
            side=Side(configuration=configuration, metric=metric),
            unit="s",
            values={(number, 0): float(each) for number, each in enumerate(values, start=1)},
            percentiles={"p50": {"value": value, "low": None, "high": None}, "p999": None},
            samples=100,
            at_least="",
        )

    measures = [
        kept(MESH, "first.warm", 0.003 * effect * machine),
        kept(MESH, "steady", 0.0005 * machine),
        kept(NONE, "first.new", 0.0003 * machine),
        kept(NONE, "steady", 0.0001 * machine),
    ]
    return Excerpt(
        run=run,
        suite="quick",
        started="2026-11-23T00:00:00",
        commit="c",
        complete=True,
        fingerprint=FINGERPRINT,
        resolution=dict.fromkeys(METRICS, 1.05),
        default=MESH,
        configurations=(
            Configuration(path=Path.CROSS_NODE, dataplane="pyztunnel", interception=Interception.REDIRECT),
        ),
        noise={"first.warm": 1.01},
        measures={each.side: each for each in measures},
    )


def changes(reference: Excerpt, run: Excerpt) -> dict[tuple[str, str], Change]:
    return {(e.side.configuration, e.side.metric): e.change for e in across(reference, run).moved}


def test_a_slower_mesh_is_worse_and_a_faster_one_better() -> None:
    slower = changes(made("a"), made("b", 1.2))
    assert slower.pop((MESH, "first.warm")) is Change.WORSE
    assert set(slower.values()) == {Change.SAME}
    assert changes(made("a", 1.2), made("b"))[MESH, "first.warm"] is Change.BETTER


def test_a_slower_machine_is_not_blamed_on_the_mesh() -> None:
    moved = changes(made("a"), made("b", machine=1.3))
    assert moved[MESH, "first.warm"] is Change.OPEN
    assert moved[MESH, "steady"] is Change.OPEN


def test_few_rounds_leave_it_open() -> None:
    moved = across(made("a", rounds=3), made("b", 1.2, rounds=3)).moved
    assert {each.change for each in moved} == {Change.OPEN}


def test_what_the_generator_limited_is_not_compared() -> None:
    limited, side = made("b", 1.2), Side(configuration=MESH, metric="first.warm")
    limited = replace(
        limited,
        measures={
            **limited.measures,
            side: replace(limited.measures[side], at_least="the generator was busy"),
        },
    )
    found = next(each for each in across(made("a"), limited).moved if each.side == side)

    assert (found.change, found.comparison.ratio) == (Change.OPEN, None)
    assert "the generator was busy" in found.comparison.because


@pytest.mark.parametrize("name", ["suite", "topology", "engine", "kernel", "machine", "applier"])
def test_what_differs_is_named(name: str) -> None:
    other = replace(made("b"), fingerprint=replace(FINGERPRINT, **{name: "another"}))

    assert len(unlike(made("a"), other)) == 1
    assert unlike(made("a"), other)[0].startswith(f"{name}: ")
    assert across(made("a"), other).document()["forced"]
    assert not unlike(made("a"), made("b"))


def test_what_only_one_has_is_named() -> None:
    other = made("b")
    side = Side(configuration=MESH, metric="steady")
    other = replace(other, measures={key: value for key, value in other.measures.items() if key != side})
    assert across(made("a"), other).missing == (f"{MESH} steady",)


@pytest.mark.parametrize("change", [lambda d: d.pop("run"), lambda d: d.update(schema_version=9)])
def test_a_document_is_read_as_it_was_or_not_at_all(change: Callable[[dict[str, object]], object]) -> None:
    document = made("a").document()
    again = Excerpt.from_document(document)
    assert again.document() == document
    assert (again.shelf, again.fingerprint) == (made("a").shelf, FINGERPRINT)

    change(document)
    with pytest.raises((KeyError, ValueError)):
        Excerpt.from_document(document)
