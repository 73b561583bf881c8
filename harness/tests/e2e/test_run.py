"""Whole runs through the command line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import cli
from harness.analysis.findings import Findings, analyse
from harness.control import Reply
from harness.errors import ExitCode
from harness.evidence import sources
from harness.evidence.model import CellStatus, CheckStatus
from harness.plan.model import Interception
from harness.results import layout
from harness.results.read import read
from harness.run import story
from harness.run.asks import Ask, Way
from harness.run.bout import Bench
from harness.run.proofs import Documents
from harness.selftest.harm import Harm
from harness.tests.e2e.conftest import ENGINES
from harness.tests.waiting import until

PREDICTION_SHARE = 0.15
"""How far the predicted time may be from the real one."""

FEW_CELLS = (
    "matrix=[{path=['cross-node'], dataplane=['none']}, {path=['same-node', 'cross-node', 'out-of-mesh'], "
    "dataplane=['pyztunnel'], interception=['redirect'], reuse=['on']}]"
)
"""Four of the smoke suite's seven, for tests of what befalls a run."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that has ended."""

    code: int
    printed: dict[str, Any]
    folder: Path
    said: str


@pytest.fixture(scope="module", params=ENGINES)
def finished(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The smoke suite, measured for real."""
    results = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "harness", "run", "smoke", "--engine", request.param]
    done = subprocess.run(
        [*command, "--results", str(results), "--json"], check=False, capture_output=True, text=True
    )
    assert done.returncode in {ExitCode.OK, ExitCode.INVALID}, done.stderr
    printed = json.loads(done.stdout)
    return Finished(done.returncode, printed, Path(printed["run"]["folder"]), done.stderr)


def test_every_cell_is_valid(finished: Finished) -> None:
    assert finished.printed["not_valid"] == [] or all(
        each["status"] == CellStatus.VALID for each in finished.printed["not_valid"]
    )
    cells = finished.printed["cells"]
    assert cells["valid"] == cells["planned"] > 0
    # on a busy machine all cells of the only round may be noisy, and then none is usable
    assert finished.code == (ExitCode.INVALID if cells["noisy"] == cells["planned"] else ExitCode.OK)


def test_every_first_packet_is_followed_through_every_hop_and_adds_up(finished: Finished) -> None:
    """Client, source proxy, destination proxy and backend, on one clock: each label is proven by them."""
    found = analyse(read(finished.folder))

    checks = [check for cell in found.cells for check in cell.verdict.checks if check.name == "first-packets"]
    assert {CheckStatus.VALID} == {check.status for check in checks}
    cut = [each for each in found.waterfalls if each.n]  # a cell that was disturbed is in none
    assert cut
    assert all(each.joined == each.n == found.run.plan.load.probes for each in cut)
    assert all(each.rest_share <= 0.10 for each in cut)
    assert all(share.mean_s > 0 for each in cut for share in each.shares if share.phase.name != "captured")


def test_the_command_that_reproduces_it_comes_first(finished: Finished) -> None:
    lines = [line for line in finished.said.splitlines() if not line.startswith("note: ")]

    assert lines[0].startswith("ambientbench run smoke --seed ")


def test_the_run_folder_is_whole(finished: Finished) -> None:
    manifest = json.loads((finished.folder / layout.RUN).read_text())

    assert manifest["status"] == "complete"
    assert {"up_s", "bench_s", "down_s"} <= set(manifest["timing"])
    for name in (layout.REPORT, layout.SUMMARY, layout.FINDINGS, layout.PLAN, layout.ENVIRONMENT):
        assert (finished.folder / name).stat().st_size > 0
    assert not list(finished.folder.rglob("*.tmp"))


def test_a_run_says_by_what_its_rules_were_written_and_why(finished: Finished) -> None:
    """D20: where one applier fell back to the other, the report and comparisons have to know."""
    agents = json.loads((finished.folder / layout.RUN).read_text())["members"]["agents"]

    said = {(agent["applier"], agent["applier_why"]) for agent in agents.values()}
    assert {("python-iptables", "the first to be tried")} == said


@pytest.mark.parametrize("source", sorted(sources.known()))
def test_without_one_evidence_file_its_cell_is_unknown(
    finished: Finished, source: str, tmp_path: Path
) -> None:
    copy = tmp_path / "run"
    shutil.copytree(finished.folder, copy)
    cell = min((copy / layout.CELLS).iterdir())
    (cell / layout.EVIDENCE / f"{source}.json").unlink()

    found = analyse(read(copy))

    unknown = [c.stored.folder.name for c in found.cells if c.verdict.status is CellStatus.UNKNOWN]
    assert [cell.name] == unknown
    assert CellStatus.INVALID not in {each.verdict.status for each in found.cells}


def test_no_key_is_in_anything_that_a_run_leaves(finished: Finished) -> None:
    """T42: results, evidence, logs and report."""
    leaking = [
        path for path in finished.folder.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()
    ]

    assert leaking == []


class Sabotaged(Bench):
    """Takes the client's redirection away once the cell's first counters have been read."""

    done: list[str]

    def _put(self, ask: Ask, ways: Sequence[Way]) -> list[tuple[Ask, Reply]]:
        (way,) = ways
        if way.cell.configuration.interception is Interception.REDIRECT and not self.done:
            self.done.append(way.cell.name)
            Harm(self.bed).without_rules("client", "nat")
        return super()._put(ask, ways)


@pytest.fixture
def sabotaged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the cells whose rules were taken away."""
    done: list[str] = []
    monkeypatch.setattr(Sabotaged, "done", done, raising=False)
    monkeypatch.setattr(story, "Bench", Sabotaged)
    return done


@pytest.mark.parametrize("engine", ENGINES)
def test_a_rule_removed_in_mid_run_makes_the_cell_invalid(
    engine: str, sabotaged: list[str], tmp_path: Path
) -> None:
    """F20, T73, M08: without its rule the traffic passes by the proxy and everything looks fine and fast."""
    code = cli.obey(
        ["run", "smoke", "-s", FEW_CELLS, "--engine", engine, "--results", str(tmp_path), "--json"]
    )

    (folder,) = tmp_path.iterdir()
    found: Findings = analyse(read(folder))
    invalid = {
        cell.stored.folder.name: cell.reasons
        for cell in found.cells
        if cell.verdict.status is CellStatus.INVALID
    }
    assert code == ExitCode.INVALID
    assert sabotaged[0] in invalid
    assert any("rule" in reason for reason in invalid[sabotaged[0]])


class LateOnce(Bench):
    """The first bout's load reads its clock 100 us late on the way back, as a starved one does."""

    late: list[str]

    def _prove(self, ways: Sequence[Way]) -> dict[int, Documents]:
        proved = super()._prove(ways)
        if not self.late:
            self.late += [way.cell.name for way in ways]
            for documents in proved.values():
                for connection in documents["clock"]["connections"]:
                    connection["connected_ns"] += 100_000
                    connection["first_byte_ns"] += 100_000
        return proved


@pytest.mark.netns
def test_a_cell_whose_clock_failed_is_invalid_and_stays_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """M18: to measure it until its clock passes would be to choose among measurements."""
    monkeypatch.setattr(LateOnce, "late", [], raising=False)
    monkeypatch.setattr(story, "Bench", LateOnce)
    matrix = "matrix=[{path=['cross-node'], dataplane=['pyztunnel'], interception=['redirect']}]"
    shorter = ["-s", matrix, "-s", "rounds=2"]

    code = cli.obey(["run", "smoke", "--engine", "netns", "--results", str(tmp_path), *shorter])

    (folder,) = tmp_path.iterdir()
    first, second = analyse(read(folder)).cells
    assert first.stored.folder.name == LateOnce.late[0]
    failed = {check.name for check in first.verdict.checks if check.status is CheckStatus.INVALID}
    assert failed == {"clock"}
    assert second.verdict.status is CellStatus.VALID
    assert code == ExitCode.INVALID


@pytest.mark.netns
def test_cells_over_ipv6_are_valid(tmp_path: Path) -> None:
    """Conntrack entries, rule hits and packets on links are over IPv6 what they are over IPv4."""
    cells = "path=['cross-node'], dataplane=['pyztunnel'], interception=['redirect', 'tproxy-notrack']"
    matrix = f"matrix=[{{{cells}, ip_family=['ipv4', 'ipv6']}}]"

    code = cli.obey(["run", "ipv6", "--engine", "netns", "--results", str(tmp_path), "-s", matrix])

    (folder,) = tmp_path.iterdir()
    found = analyse(read(folder))
    assert code == ExitCode.OK, [cell.reasons for cell in found.cells]
    assert [CellStatus.VALID] * 4 == [cell.verdict.status for cell in found.cells]


@pytest.mark.netns
def test_the_predicted_time_is_the_real_one(tmp_path: Path) -> None:
    """Within 15 %, on stages as long as the quick suite's. Busy machines lengthen a run: three tries."""
    captured = "path=['same-node', 'cross-node'], dataplane=['pyztunnel'], interception=['redirect']"
    matrix = f"matrix=[{{path=['cross-node'], dataplane=['none']}}, {{{captured}, reuse=['on', 'off']}}]"
    shorter = ["-s", "rounds=1", "-s", "most_rounds=1", "-s", matrix]
    shares: list[float] = []
    for attempt in range(3):
        results = tmp_path / str(attempt)
        code = cli.obey(["run", "quick", "--engine", "netns", "--results", str(results), *shorter])
        (folder,) = results.iterdir()
        stored = read(folder)
        assert code == ExitCode.OK
        shares.append(stored.manifest.timing["bench_s"] / stored.plan.predicted_s)
        if abs(shares[-1] - 1) <= PREDICTION_SHARE:
            return
    pytest.fail(f"a run took {shares} times as long as predicted, in three tries")


@pytest.mark.netns
def test_an_interrupted_run_is_finished_and_made_longer(tmp_path: Path) -> None:
    """What was measured stays as it is; the cells that were lost are measured, then a round more."""
    captured = "path=['cross-node'], dataplane=['pyztunnel'], interception=['redirect'], reuse=['on', 'off']"
    matrix = f"matrix=[{{path=['cross-node'], dataplane=['none']}}, {{{captured}}}]"
    suite = ["smoke", "--engine", "netns", "-s", "rounds=1", "-s", matrix]
    run = [sys.executable, "-m", "harness", "run"]
    at = ["--results", str(tmp_path), "--json"]
    assert subprocess.run([*run, *suite, *at], check=False, capture_output=True).returncode == ExitCode.OK
    folder = next(tmp_path.iterdir())
    kept, *lost = sorted((folder / layout.CELLS).iterdir())
    for cell in lost[-2:]:
        shutil.rmtree(cell)
    manifest = json.loads((folder / layout.RUN).read_text())
    (folder / layout.RUN).write_text(json.dumps(manifest | {"status": "running", "ended": None}))
    before = (kept / layout.CHECKSUMS).read_bytes()

    done = subprocess.run(
        [*run, "--resume", folder.name, "--append", "1", *at], check=False, capture_output=True, text=True
    )

    assert done.returncode == ExitCode.OK, done.stderr
    printed = json.loads(done.stdout)
    assert printed["cells"]["valid"] == printed["cells"]["planned"] == 2 * (len(lost) + 1)
    assert printed["run"]["status"] == "complete"
    assert (kept / layout.CHECKSUMS).read_bytes() == before
    assert len(read(folder).manifest.sessions) == 1


def _members_vanish(run: subprocess.Popen[str]) -> None:
    """Everything that the engine keeps goes at once, as with a Docker daemon that restarts."""
    children = " ".join(path.read_text() for path in Path(f"/proc/{run.pid}/task").glob("*/children"))
    (supervisor,) = (
        int(pid) for pid in children.split() if b"netns_init" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    os.kill(supervisor, signal.SIGKILL)


ENDINGS: dict[str, tuple[Callable[[subprocess.Popen[str]], None], int, str]] = {
    "F60, Ctrl-C": (lambda run: run.send_signal(signal.SIGINT), 130, "aborted"),
    "F62, killed": (lambda run: run.send_signal(signal.SIGKILL), -signal.SIGKILL, "running"),
    "F65, its members gone": (_members_vanish, ExitCode.RUN_FAILED, "failed"),
}


@pytest.mark.netns
@pytest.mark.parametrize("ending", ENDINGS)
def test_whatever_ends_a_run_only_the_cell_in_progress_is_lost(ending: str, tmp_path: Path) -> None:
    """What had been measured is whole and stays as it is; `run --resume` measures the rest."""
    end, code, status = ENDINGS[ending]
    command = [sys.executable, "-m", "harness", "run"]
    at = ["--results", str(tmp_path), "--json"]
    suite = ["smoke", "--engine", "netns", "-s", FEW_CELLS, "-s", "rounds=1"]
    with subprocess.Popen([*command, *suite, *at], stdout=subprocess.DEVNULL, text=True) as run:
        until(lambda: len(list(tmp_path.glob("*/cells/[0-9]*"))) >= 2, within_s=120)
        end(run)
        assert run.wait(timeout=120) == code

    (folder,) = tmp_path.iterdir()
    stored = read(folder)
    kept = {cell.folder.name: (cell.folder / layout.CHECKSUMS).read_bytes() for cell in stored.cells}
    assert 2 <= len(kept) < len(stored.plan.cells)
    assert [cell.damage for cell in stored.cells] == [()] * len(kept)
    assert stored.manifest.status.value == status
    # Nobody could take the testbed down after SIGKILL: its members ended with it, its folder is left.
    subprocess.run([sys.executable, "-m", "harness", "down", "--all"], check=True, capture_output=True)

    again = subprocess.run(
        [*command, "--resume", folder.name, *at], check=False, capture_output=True, text=True
    )

    assert again.returncode == ExitCode.OK, again.stderr
    assert json.loads(again.stdout)["run"]["status"] == "complete"
    for name, checksums in kept.items():
        assert (folder / layout.CELLS / name / layout.CHECKSUMS).read_bytes() == checksums
