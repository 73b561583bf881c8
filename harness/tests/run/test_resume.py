"""Going on with a run: the cells that are left and no others, and only where they are of one kind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.findings import analyse
from harness.cli import obey
from harness.engines.choice import Choice, named
from harness.errors import ExitCode, UsageError
from harness.plan.order import plan
from harness.results import layout
from harness.results.read import StoredRun, read
from harness.results.schema import RunStatus
from harness.results.write import RunWriter
from harness.run.resume import check_same_place, continued
from harness.run.story import Request
from harness.suite import Suite, load_suite
from harness.tests import synthetic
from harness.topology.allocator import resolve

SUITE = load_suite("smoke", ["rounds=2"])


@pytest.fixture
def stored(tmp_path: Path) -> StoredRun:
    """A run that was interrupted after five bouts, of one cell each."""
    return read(synthetic.record(tmp_path, SUITE, status=RunStatus.ABORTED, cells=5))


def test_the_bouts_that_are_left_are_measured_and_no_others(stored: StoredRun) -> None:
    request = Request(
        run=stored.manifest.run,
        suite=SUITE,
        plan=continued(stored, SUITE),
        topology=resolve(SUITE.topology),
        choice=Choice(name="netns", reason="", module=named("netns")),
        command=(),
        results=stored.folder.parent,
        before=stored.manifest,
        measured=stored.measured,
    )

    left = [cell.index for bout in request.bouts for cell in bout.cells]
    assert left == list(range(5, len(stored.plan.cells)))


def test_a_bout_that_was_not_saved_whole_is_measured_again(tmp_path: Path) -> None:
    """Its cells were measured in turns: one without the others is no pair."""
    suite = load_suite("quick", ["rounds=1", "most_rounds=1"], dataplanes=("none", "pyztunnel"))
    laid_out = plan(suite, seed=7)
    first = len(laid_out.bouts[0].cells)
    stored = read(synthetic.record(tmp_path, suite, status=RunStatus.ABORTED, cells=first + 2))
    assert {*range(first)} == stored.measured

    writer = RunWriter.go_on(stored.folder, stored.manifest, continued(stored, suite), stored.measured)
    writer.close()

    again = read(stored.folder)
    assert [*range(first)] == [cell.record.cell.index for cell in again.cells]


def test_more_rounds_begin_with_the_same_cells(stored: StoredRun) -> None:
    longer = continued(stored, SUITE, append=3)

    assert longer.rounds == 5
    assert longer.cells[: len(stored.plan.cells)] == stored.plan.cells
    assert len(longer.cells) == 5 * len(SUITE.configurations)
    assert longer.seed == stored.plan.seed


def test_a_folder_is_gone_on_with_and_nothing_in_it_is_lost(stored: StoredRun) -> None:
    torn = stored.folder / layout.CELLS / ".tmp-0005-torn"
    torn.mkdir()
    before = {path: path.read_bytes() for path in (stored.folder / layout.CELLS).rglob("*.parquet")}

    longer = continued(stored, SUITE, append=1)
    writer = RunWriter.go_on(stored.folder, stored.manifest, longer, stored.measured)
    writer.close()

    again = read(stored.folder)
    assert not torn.exists()
    assert again.plan.rounds == 3
    assert (again.manifest.status, again.manifest.ended) == (RunStatus.PLANNED, None)
    assert len(again.manifest.sessions) == 1
    assert again.manifest.started == stored.manifest.started
    assert {path: path.read_bytes() for path in before} == before
    assert analyse(again).counts()["measured"] == 5


def test_a_whole_run_has_nothing_left(tmp_path: Path) -> None:
    whole = read(synthetic.record(tmp_path, SUITE))
    with pytest.raises(UsageError, match="--append N adds N rounds"):
        continued(whole, SUITE)
    assert continued(whole, SUITE, append=1).rounds == 3


def test_another_suite_is_refused(stored: StoredRun) -> None:
    other: Suite = load_suite("smoke", ["rounds=2", "load.first_packet.probes=6"])
    with pytest.raises(UsageError, match="no longer the suite"):
        continued(stored, other)


def test_a_run_whose_order_cannot_be_had_again_is_refused(stored: StoredRun) -> None:
    other = replace(stored, plan=replace(stored.plan, cells=stored.plan.cells[::-1]))
    with pytest.raises(UsageError, match="another order"):
        continued(other, SUITE)


@pytest.mark.parametrize(("group", "name"), [("host", "kernel"), ("host", "cpu"), ("source", "commit")])
def test_another_place_is_refused_with_what_differs(stored: StoredRun, group: str, name: str) -> None:
    here = json.loads((stored.folder / layout.ENVIRONMENT).read_text())
    check_same_place(stored, here)

    here.setdefault(group, {})[name] = "another"
    with pytest.raises(UsageError, match=f"{name}: .* then, another now"):
        check_same_place(stored, here)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--append", "2"], "which run?"),
        (["smoke", "--resume", "latest"], "leave them out"),
        (["--resume", "latest", "--seed", "3"], "leave them out"),
        (["--until-width", "narrow"], "a percentage was expected"),
        (["--until-width", "0%"], "a percentage was expected"),
        (["--resume", "nope"], "no such run"),
    ],
)
def test_senseless_requests_are_refused_before_anything_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], said: str
) -> None:
    assert obey(["run", *arguments, "--results", str(tmp_path)]) == ExitCode.USAGE
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
