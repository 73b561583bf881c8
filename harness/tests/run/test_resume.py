"""Going on with a run: the cells that are left and no others, and only where they are of one kind."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from harness.analysis.findings import analyse
from harness.analysis.width import headline_width
from harness.cli import obey
from harness.engines.choice import Choice, named
from harness.errors import ExitCode, UsageError
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
    """A run that was interrupted after five cells."""
    return read(synthetic.record(tmp_path, SUITE, status=RunStatus.ABORTED, cells=5))


def test_the_cells_that_are_left_are_measured_and_no_others(stored: StoredRun) -> None:
    request = Request(
        run=stored.manifest.run,
        suite=SUITE,
        plan=continued(stored, SUITE),
        topology=resolve(SUITE.topology),
        choice=Choice(name="netns", reason="", module=named("netns")),
        command=(),
        results=stored.folder.parent,
        before=stored.manifest,
        measured=frozenset(stored.latest()),
    )

    assert [cell.index for cell in request.cells] == list(range(5, len(stored.plan.cells)))


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

    writer = RunWriter.go_on(stored.folder, stored.manifest, continued(stored, SUITE, append=1))
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


def test_more_rounds_make_the_headline_narrower(tmp_path: Path) -> None:
    def width(rounds: int) -> float | None:
        suite = load_suite("smoke", [f"rounds={rounds}", "load.first_packet.probes=20"])
        run = synthetic.record(tmp_path / str(rounds), suite, noise=0.05)
        found = headline_width(analyse(read(run)))
        shutil.rmtree(run)
        return found

    few, many = width(6), width(20)

    assert width(5) is None
    assert few is not None
    assert many is not None
    assert many < few
