"""Runs on disk: what was written is read back; what is torn or altered is refused with a reason."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from harness.analysis.findings import analyse
from harness.plan.order import plan
from harness.results import layout
from harness.results.costs import latest_costs
from harness.results.environment import collect
from harness.results.index import runs
from harness.results.read import Damaged, Unreadable, find_run, read
from harness.results.schema import RunStatus
from harness.results.write import RunWriter
from harness.suite import Suite, load_suite
from harness.tests.synthetic import record
from harness.topology.allocator import resolve
from harness.topology.document import to_json


@pytest.fixture(scope="module")
def suite() -> Suite:
    return load_suite("smoke", dataplanes=("none", "pyztunnel"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, suite: Suite) -> Path:
    return record(tmp_path_factory.mktemp("results"), suite)


@pytest.fixture
def run(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / original.name))


def cell_of(run: Path) -> Path:
    return min((run / layout.CELLS).iterdir())


def test_what_was_written_is_read(run: Path, suite: Suite) -> None:
    stored = read(run)

    assert stored.manifest.status is RunStatus.COMPLETE
    assert stored.manifest.suite_hash == suite.hash
    assert stored.manifest.timing["up_s"] == 4.2
    assert stored.plan == plan(suite, seed=7)
    assert [cell.record.cell for cell in stored.cells] == list(stored.plan.cells)
    assert all(cell.damage == () for cell in stored.cells)
    first = stored.cells[0]
    probes = first.samples("probe")
    assert len(probes) == first.rows["probe"]
    assert set(probes.loc[probes["sequence"] > 0, "state"]) == {"steady"}
    assert set(probes.loc[probes["sequence"] == 0, "state"]) <= {"cold", "warm", "new"}
    assert probes["ok"].dtype == bool


def test_checksums_are_those_of_sha256sum(run: Path) -> None:
    for cell in (run / layout.CELLS).iterdir():
        subprocess.run(
            ["sha256sum", "--check", "--strict", "--quiet", layout.CHECKSUMS], cwd=cell, check=True
        )


def test_samples_need_no_program_of_ours(run: Path) -> None:
    """The query in the package's docstring."""
    query = "select state, median(first_byte_ns - start_ns) / 1e6 as ms, count(*) as n from read_parquet(?)"
    query += " where ok and sequence = 0 group by state order by state"
    found = duckdb.execute(query, [f"{run}/cells/*/probes.parquet"]).fetchall()

    assert [row[0] for row in found] == ["cold", "new", "warm"]
    assert all(0 < row[1] < 100 for row in found)


def test_plan_and_environment_are_there_before_anything_starts(tmp_path: Path, suite: Suite) -> None:
    laid_out = plan(suite, seed=1)
    writer = RunWriter.create(
        tmp_path,
        run="r",
        suite=suite,
        plan=laid_out,
        topology=to_json(resolve(suite.topology)),
        environment=collect(engine="netns"),
        command=["ambientbench", "run", "smoke"],
        looks=(1,),
        engine="netns",
        engine_reason="asked for",
    )

    stored = read(writer.folder)

    assert stored.manifest.status is RunStatus.PLANNED
    assert stored.cells == ()
    assert stored.environment["host"]["kernel"]
    with pytest.raises(FileExistsError):
        RunWriter.create(
            tmp_path,
            run="r",
            suite=suite,
            plan=laid_out,
            topology="{}",
            environment={},
            command=[],
            looks=(),
            engine="",
            engine_reason="",
        )
    writer.update(status=RunStatus.ABORTED, reason="interrupted by SIGINT", timing={"down_s": 1.5})
    again = read(writer.folder).manifest
    assert (again.status, again.reason, again.timing["down_s"]) == (
        RunStatus.ABORTED,
        "interrupted by SIGINT",
        1.5,
    )
    assert again.ended is not None
    writer.close()


@pytest.mark.parametrize("name", [layout.RUN, layout.PLAN, layout.TOPOLOGY, layout.ENVIRONMENT])
def test_torn_file_of_the_run_is_refused(run: Path, name: str) -> None:
    """F76."""
    text = (run / name).read_bytes()
    (run / name).write_bytes(text[: len(text) // 2])

    with pytest.raises(Unreadable, match=rf"{name} is torn or altered"):
        read(run)


@pytest.mark.parametrize("version", [1, 3])
def test_a_version_that_cannot_be_read_is_refused(run: Path, version: int) -> None:
    """F76; version 1 measured nothing in turns."""
    document = json.loads((run / layout.RUN).read_text())
    (run / layout.RUN).write_text(json.dumps(document | {"schema_version": version}))

    with pytest.raises(Unreadable, match=f"schema_version {version}; this version reads 2"):
        read(run)


def test_numbers_that_are_none_are_refused(run: Path) -> None:
    (run / layout.ENVIRONMENT).write_text('{"load": NaN}')

    with pytest.raises(Unreadable, match="NaN is no number"):
        read(run)


def test_missing_key_is_named(run: Path) -> None:
    document = json.loads((run / layout.RUN).read_text())
    del document["seed"]
    (run / layout.RUN).write_text(json.dumps(document))

    with pytest.raises(Unreadable, match="seed"):
        read(run)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="is no run"):
        read(tmp_path)


def test_unfinished_cells_are_not_read(run: Path) -> None:
    count = len(read(run).cells)
    shutil.copytree(cell_of(run), run / layout.CELLS / ".tmp-half")

    assert len(read(run).cells) == count


@pytest.mark.parametrize("name", ["probes.parquet", "evidence/rules.json"])
def test_altered_file_of_a_cell_is_named(run: Path, name: str) -> None:
    """F76."""
    path = cell_of(run) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)

    cell = read(run).cells[0]

    assert cell.damage == (f"{name} is not as it was saved: its checksum differs",)
    assert ("rules" in cell.evidence) == (name != "evidence/rules.json")


def test_missing_file_of_a_cell_is_named(run: Path) -> None:
    (cell_of(run) / "evidence" / "conntrack.json").unlink()

    cell = read(run).cells[0]

    assert cell.damage == ("evidence/conntrack.json is missing",)
    assert "conntrack" not in cell.evidence


def test_missing_checksums_leave_nothing_verified(run: Path) -> None:
    """F76."""
    (cell_of(run) / layout.CHECKSUMS).unlink()

    cell = read(run).cells[0]

    assert "nothing in this cell can be verified" in cell.damage[0]
    assert cell.evidence == {}


def test_torn_samples_are_refused(run: Path) -> None:
    """F76."""
    path = cell_of(run) / "probes.parquet"
    path.write_bytes(path.read_bytes()[:-50])

    with pytest.raises(Damaged, match=r"probes\.parquet cannot be read"):
        read(run).cells[0].samples("probe")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select * from old limit 3", "holds 3 rows"),
        ("select * exclude (ok) from old", "has columns"),
        (
            "select * replace (start_ns + 10000000000 as start_ns) from old",
            "first_byte_ns is before start_ns",
        ),
    ],
)
def test_samples_that_cannot_have_been_measured_are_refused(run: Path, query: str, expected: str) -> None:
    path = cell_of(run) / "probes.parquet"
    database = duckdb.connect()
    database.execute("create table old as select * from read_parquet(?)", [str(path)])
    database.sql(query).write_parquet(str(path))

    with pytest.raises(Damaged, match=expected):
        read(run).cells[0].samples("probe")


def test_runs_are_found_by_name_beginning_and_age(run: Path) -> None:
    root = run.parent
    shutil.copytree(run, root / "20250101-000000-old")

    assert find_run("latest", root) == run
    assert find_run("2026", root) == run
    assert find_run(run.name, root) == run
    assert find_run(str(run)) == run
    with pytest.raises(Unreadable, match="2 runs begin so"):
        find_run("20", root)
    with pytest.raises(Unreadable, match="no such run"):
        find_run("nope", root)


def test_list_shows_what_it_cannot_read(run: Path) -> None:
    shutil.copytree(run, run.parent / "20270101-000000-torn")
    (run.parent / "20270101-000000-torn" / layout.RUN).write_text("{")

    good, torn = runs(run.parent)

    assert (good.status, good.cells, good.invalid) == ("complete", 7, None)
    assert torn.status.startswith("unreadable: ")


def test_costs_come_from_the_latest_run_that_has_any(run: Path) -> None:
    assert latest_costs(run.parent) is None
    older = Path(shutil.copytree(run, run.parent / "20250101-000000-old"))
    (older / layout.FINDINGS).write_text('{"timing": {"costs": {"switch_s": 0.3, "evidence_s": 0.2}}}')
    (run / layout.FINDINGS).write_text("{torn")

    found = latest_costs(run.parent)

    assert found is not None
    assert (found.run, found.costs.switch_s, found.costs.evidence_s) == (older.name, 0.3, 0.2)


def test_a_run_of_an_earlier_form_is_read(run: Path) -> None:
    """What was added to version 1 has a default: a run without sessions and gates is read as it was meant."""
    manifest = json.loads((run / layout.RUN).read_text())
    manifest.pop("sessions", None)
    manifest["suite"]["thresholds"].pop("gates", None)
    (run / layout.RUN).write_text(json.dumps(manifest))

    again = read(run)

    assert again.manifest.sessions == ()
    assert again.manifest.document()["sessions"] == ()
    assert analyse(again).gates == ()


FULL_DISK = """
import json, sys
from pathlib import Path
from harness.results.atomic import TEMPORARY, Unwritable
from harness.results.read import read
from harness.suite import load_suite
from harness.tests import synthetic

root, told = Path(sys.argv[1]), ""
try:
    synthetic.record(root, load_suite("smoke", ["rounds=50"], dataplanes=("none", "pyztunnel")), run="run")
except Unwritable as exc:
    told = str(exc)
stored = read(root / "run")
damaged = sum(bool(cell.damage) for cell in stored.cells)
print(json.dumps([told, len(stored.cells), damaged, len(list(root.rglob(TEMPORARY + "*")))]))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_loses_the_cell_in_progress_alone(tmp_path: Path) -> None:
    """F73, on a file system that is really full: what was saved before stays whole."""
    small = tmp_path / "small"
    small.mkdir()
    mount = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    story = 'mount -t tmpfs -o size=1m none "$1" && exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        [*mount, story, "-", str(small), sys.executable, FULL_DISK],
        check=False,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[3],
    )

    assert done.returncode == 0, done.stderr
    told, cells, damaged, unfinished = json.loads(done.stdout)
    assert "No space left on device" in told
    assert "MB are free in" in told
    assert cells >= 1
    assert (damaged, unfinished) == (0, 0)
