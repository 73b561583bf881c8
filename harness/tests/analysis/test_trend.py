"""Nights in a row: the step, its commits, and whether the machine moved too."""

from __future__ import annotations

from dataclasses import replace

from harness.analysis.compare import Side
from harness.analysis.trend import Series, Trend, trends
from harness.tests.history import DIRECT, MESH, Effect, elsewhere, nights

WARM = Side(configuration=MESH.key, metric="first.warm")


def slower_from(first: int, *metrics: str, factor: float = 1.2, direct: bool = False) -> Effect:
    def effect(night: int, side: Side) -> float:
        meant = side.metric in metrics and (direct or side.configuration == MESH.key)
        return factor if night >= first and meant else 1.0

    return effect


def series(found: Trend, side: Side) -> Series:
    return next(each for each in found.series if each.side == side)


def test_a_step_names_its_run_and_the_commits_around_it() -> None:
    (found,) = trends(nights(14, slower_from(9, "first.warm")))

    (step,) = series(found, WARM).steps
    assert (step.at, step.run) == (9, found.runs[9])
    assert (step.before_commit, step.commit) == (f"{8:040x}", f"{9:040x}")
    assert 1.15 < step.ratio < 1.25
    assert (step.better, step.matters, step.machine) == (False, True, "")
    assert [each.side for each in found.stepped] == [WARM]


def test_more_of_throughput_is_better() -> None:
    (found,) = trends(nights(14, slower_from(9, "requests")))

    (step,) = series(found, Side(configuration=MESH.key, metric="requests")).steps
    assert step.better


def test_what_moves_without_the_mesh_too_is_said_to_be_the_machine_s() -> None:
    (found,) = trends(nights(14, slower_from(9, "first.warm", "first.new", direct=True)))

    (step,) = series(found, WARM).steps
    assert step.machine.startswith("without the mesh it moved by +")
    (own,) = series(found, Side(configuration=DIRECT.key, metric="first.new")).steps
    assert own.machine == ""


def test_a_step_within_the_practical_threshold_does_not_matter() -> None:
    (found,) = trends(nights(14, slower_from(9, "first.warm", factor=1.03), spread=0.002))

    assert [step.matters for step in series(found, WARM).steps] == [False]
    assert found.stepped == []


def test_environments_are_never_mixed() -> None:
    here = nights(8)

    found = trends([*here, *elsewhere(here)])

    assert [len(each.runs) for each in found] == [8, 8]


def test_order_and_repetition_of_what_is_given_do_not_matter() -> None:
    given = nights(10, slower_from(5, "first.warm"))

    assert trends([*given[::-1], *given[:4]]) == trends(given)


def test_a_limited_figure_is_no_point() -> None:
    given = nights(8)
    kept = replace(given[3].measures[WARM], at_least="the generator was the limit")
    given[3] = replace(given[3], measures={**given[3].measures, WARM: kept})

    (found,) = trends(given)

    assert len(series(found, WARM).points) == 7
