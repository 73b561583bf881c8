"""The story of a run: its bouts one after the other, each saved whole, until enough is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import pytest

from harness.control import ControlError
from harness.engines.choice import Choice, named
from harness.interrupts import Interrupted, Interrupts
from harness.plan.model import Bout, Cell
from harness.plan.order import plan
from harness.results.read import read
from harness.results.schema import RunStatus
from harness.results.write import now
from harness.run import story
from harness.run.bout import Measured
from harness.run.progress import Plain
from harness.run.story import BoutFailed, Request, carry_out
from harness.suite import Suite, load_suite
from harness.testbed.placement import Placement
from harness.topology.allocator import resolve

ONE_PATH = [f"matrix[{number}].path=['cross-node']" for number in range(3)]
"""A bout a round."""
TWO_PATHS = [f"matrix[{number}].path=['cross-node', 'same-node']" for number in range(3)]


class Bed:
    """A testbed that is up at once."""

    def __init__(self, *, placements: tuple[Placement, ...], **_: Any) -> None:
        self.placements = placements
        self.up_s = 0.1
        self.stages_s: Mapping[str, float] = {"members": 0.1}
        self.lanes: tuple[Any, ...] = ()
        self.cpu_sets = SimpleNamespace(because="one for all")
        self.collected: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def describe(self) -> list[Any]:
        return []

    def ask_agents(self, _op: str) -> dict[str, Any]:
        return {}

    def collect_logs(self, folder: Path) -> None:
        self.collected.append(folder)

    def whose_end(self) -> str:
        return "every member is alive"


@dataclass
class Benches:
    """What becomes of the benches that a story makes."""

    measured: list[Bout] = field(default_factory=list)
    beds: list[Bed] = field(default_factory=list)
    closed: int = 0
    saved_before: list[int] = field(default_factory=list)
    """How many cells lay on disk as each bout began."""
    folder: Path = Path()
    meanwhile: Callable[[int], None] = lambda _number: None
    """Called in each bout with its place in the order, from 0."""

    def bench(self, bed: Bed, _suite: Suite, _seed: int) -> Self:
        self.beds.append(bed)
        self.bed = bed
        return self

    def measure(self, bout: Bout) -> dict[Cell, Measured]:
        self.saved_before.append(len(list(self.folder.glob("cells/[0-9]*"))))
        self.measured.append(bout)
        self.meanwhile(len(self.measured) - 1)
        return {
            cell: Measured(started=now(), ended=now(), timing={"load_s": 1.0}, payloads={}, evidence={})
            for cell in bout.cells
        }

    def fit_delay(self, _bouts: Iterable[Bout]) -> list[Any]:
        return []

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def benches(monkeypatch: pytest.MonkeyPatch) -> Benches:
    made = Benches()
    monkeypatch.setattr(story, "Bench", made.bench)
    monkeypatch.setattr(story, "Testbed", Bed)
    return made


def request(root: Path, benches: Benches, *overrides: str, **changes: Any) -> Request:
    suite = load_suite("quick", [*ONE_PATH, *overrides], dataplanes=("none", "pyztunnel"))
    laid_out = plan(suite, seed=3)
    benches.folder = root / "run"
    return Request(
        **{
            "run": "run",
            "suite": suite,
            "plan": laid_out,
            "topology": resolve(suite.topology, laid_out.lanes),
            "choice": Choice(name="netns", reason="asked for", module=named("netns")),
            "command": ("ambientbench", "run"),
            "results": root,
            **changes,
        }
    )


def test_a_bout_is_on_disk_before_the_next_one_begins(tmp_path: Path, benches: Benches) -> None:
    asked = request(tmp_path, benches, *TWO_PATHS, "rounds=2", "most_rounds=2")

    folder = carry_out(asked, Plain(), Interrupts())

    sizes = [len(bout.cells) for bout in asked.plan.bouts]
    assert list(asked.plan.bouts) == benches.measured
    assert [sum(sizes[:number]) for number in range(len(sizes))] == benches.saved_before
    stored = read(folder)
    assert [cell.record.cell for cell in stored.cells] == list(asked.plan.cells)
    assert (stored.manifest.status, stored.manifest.reason) == (
        RunStatus.COMPLETE,
        "all 2 rounds are measured",
    )
    assert {"up_s", "bench_s", "bout_load_s", "bout_save_s", "down_s"} <= set(stored.manifest.timing)
    assert benches.closed == 1


def test_lanes_come_up_with_the_first_bout_on_them(tmp_path: Path, benches: Benches) -> None:
    asked = request(tmp_path, benches, "rounds=1", "most_rounds=1")

    carry_out(asked, Plain(), Interrupts())

    (bed,) = benches.beds
    carried = [
        (bed.placements[cell.lane - 1].dataplane, bed.placements[cell.lane - 1].interception)
        for cell in asked.plan.bouts[0].cells
    ]
    assert carried == [
        (cell.configuration.dataplane, cell.configuration.interception) for cell in asked.plan.bouts[0].cells
    ]


def test_a_bout_that_failed_ends_the_run_and_leaves_no_part_of_itself(
    tmp_path: Path, benches: Benches
) -> None:
    def fail(number: int) -> None:
        if number == 2:
            raise ControlError("probe: connection closed")

    benches.meanwhile = fail
    asked = request(tmp_path, benches, "rounds=4", "most_rounds=4")

    with pytest.raises(BoutFailed, match=r"bout r3 cross-node: probe: connection closed; every member is"):
        carry_out(asked, Plain(), Interrupts())

    stored = read(benches.folder)
    assert stored.manifest.status is RunStatus.FAILED
    assert {1, 2} == {cell.record.cell.round for cell in stored.cells}
    assert len(stored.cells) == len(stored.measured) == 12
    assert benches.beds[0].collected == [benches.folder / "logs"]


def test_what_was_measured_is_kept_when_somebody_asks_for_the_end(tmp_path: Path, benches: Benches) -> None:
    def interrupt(number: int) -> None:
        if number == 1:
            raise Interrupted(2)

    benches.meanwhile = interrupt

    with pytest.raises(Interrupted):
        carry_out(request(tmp_path, benches), Plain(), Interrupts())

    stored = read(benches.folder)
    assert stored.manifest.status is RunStatus.ABORTED
    assert {1} == {cell.record.cell.round for cell in stored.cells}


def test_a_run_goes_on_with_the_bouts_that_are_not_saved_whole(tmp_path: Path, benches: Benches) -> None:
    first = request(tmp_path, benches, "rounds=3", "most_rounds=3")
    benches.meanwhile = lambda number: exec_fail() if number == 2 else None
    with pytest.raises(BoutFailed):
        carry_out(first, Plain(), Interrupts())
    torn = read(benches.folder).cells[7].folder
    (torn / "cell.json").rename(benches.folder / "elsewhere.json")
    for path in sorted(torn.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    torn.rmdir()
    stored = read(benches.folder)
    benches.meanwhile = lambda _number: None
    benches.measured.clear()

    again = request(
        tmp_path,
        benches,
        "rounds=3",
        "most_rounds=3",
        before=stored.manifest,
        measured=stored.measured,
    )
    carry_out(again, Plain(), Interrupts())

    assert [2, 3] == [bout.round for bout in benches.measured]
    assert len(read(benches.folder).cells) == len(first.plan.cells)


def exec_fail() -> None:
    raise ControlError("agent-a: gone")


@pytest.mark.parametrize(
    ("answers", "rounds", "reason"),
    [
        ({6: "every question has a verdict"}, 6, "every question has a verdict"),
        ({9: "every question has a verdict"}, 9, "every question has a verdict"),
        ({}, 12, "all 12 rounds are measured"),
    ],
)
def test_a_run_looks_at_its_looks_and_ends_when_its_questions_are_answered(
    tmp_path: Path, benches: Benches, answers: dict[int, str], rounds: int, reason: str
) -> None:
    looked: list[int] = []

    def answered(_folder: Path) -> str:
        looked.append(benches.measured[-1].round)
        return answers.get(looked[-1], "")

    asked = request(tmp_path, benches, "rounds=6", "most_rounds=12", "minutes=60", answered=answered)

    folder = carry_out(asked, Plain(), Interrupts())

    assert rounds == benches.measured[-1].round
    assert [look for look in (6, 9) if look <= rounds] == looked
    manifest = read(folder).manifest
    assert (manifest.status, manifest.reason) == (RunStatus.COMPLETE, reason)
    assert (6, 9, 12) == manifest.looks


def test_a_run_whose_minutes_are_over_ends_with_its_least_rounds(
    tmp_path: Path, benches: Benches, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every bout takes a minute, so that two minutes are over long before the rounds that have to be."""
    elapsed = [0.0]
    real = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + elapsed[0])

    def pass_time(_number: int) -> None:
        elapsed[0] += 60.0

    benches.meanwhile = pass_time
    asked = request(tmp_path, benches, "rounds=6", "most_rounds=12", "minutes=2")

    folder = carry_out(asked, Plain(), Interrupts())

    assert 6 == benches.measured[-1].round
    assert "after 6 rounds the suite's 2 minutes were over" == read(folder).manifest.reason
