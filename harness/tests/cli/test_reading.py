"""The verbs that start nothing: validate, plan, report, list."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.cli import obey
from harness.errors import ExitCode
from harness.plan.model import Cell
from harness.results import layout
from harness.suite import load_suite
from harness.suite.raw import json_schema
from harness.tests.synthetic import record


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    record(root, load_suite("smoke"))
    return root


def answered(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert obey([*arguments, "--json"]) == ExitCode.OK
    return json.loads(capsys.readouterr().out)


def test_validate_prints_the_resolved_suite(capsys: pytest.CaptureFixture[str]) -> None:
    document = answered(capsys, "validate", "quick", "-s", "rounds=7")

    assert document["rounds"] == 7
    assert document["overrides"] == ["rounds=7"]
    assert len(document["configurations"]) == 15
    assert document["topology"]["pods"]["denied"]["service_account"] == ""
    assert obey(["validate", "quick"]) == ExitCode.OK
    assert "path      cross-node: client -> server-remote" in capsys.readouterr().out


def test_validate_prints_the_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert obey(["validate", "--schema"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out) == json_schema()


def test_a_wrong_suite_is_a_usage_error_without_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    for verb in ("validate", "plan"):
        assert obey([verb, "quick", "-s", "rounds=none"]) == ExitCode.USAGE
        said = capsys.readouterr()
        assert said.out == ""
        assert 'rounds: found "none" (string) (allowed: integer, 1 to 1000)' in said.err
        assert "Traceback" not in said.err


def test_plan_is_the_same_for_the_same_seed(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    asked = ("plan", "quick", "--seed", "5", "--results", str(tmp_path))
    first, second = answered(capsys, *asked), answered(capsys, *asked)

    assert first == second
    assert (first["seed"], len(first["cells"]), first["predicted_from"]) == (5, 216, None)
    assert obey([*asked]) == ExitCode.OK
    printed = capsys.readouterr().out
    assert "216 cells, 15 configurations in 36 bouts of at most 6 lanes, at most 12 rounds" in printed
    assert "(it may be enough after 6, 9), seed 5: " in printed
    assert obey([*asked, "-s", "most_rounds=6"]) == ExitCode.OK
    assert "108 cells, 15 configurations in 18 bouts of at most 6 lanes, 6 rounds, seed 5: " in (
        capsys.readouterr().out
    )


def test_report_writes_everything_and_prints_findings_alone(
    capsys: pytest.CaptureFixture[str], results: Path
) -> None:
    document = answered(capsys, "report", "latest", "--results", str(results))

    folder = Path(document["run"]["folder"])
    assert document["cells"]["invalid"] == 0
    assert {layout.FINDINGS, layout.REPORT, layout.SUMMARY} <= {path.name for path in folder.iterdir()}
    assert obey(["report", folder.name, "--results", str(results)]) == ExitCode.OK
    said = capsys.readouterr().out
    assert "7 of 7 cells measured, 7 valid" in said
    assert said.rstrip().endswith(str(folder / layout.REPORT))


def test_an_invalid_cell_is_an_exit_code(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    def spoil(cell: Cell, evidence: dict[str, Any]) -> None:
        if cell.index == 3:
            tunnels = json.loads(json.dumps(evidence["tunnels"]))
            tunnels["after"]["a"]["route_resolutions"] += 1
            evidence["tunnels"] = tunnels

    record(tmp_path, load_suite("smoke"), spoil=spoil)

    assert obey(["report", "--results", str(tmp_path)]) == ExitCode.INVALID
    assert "✗ invalid 0003-r1-" in capsys.readouterr().out


def test_a_run_that_is_not_there_is_a_usage_error(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert obey(["report", "nope", "--results", str(tmp_path)]) == ExitCode.USAGE
    assert f"no such run in {tmp_path}/ (there: none yet)" in capsys.readouterr().err


def test_list_shows_runs_suites_and_data_planes(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    assert [each["suite"] for each in answered(capsys, "list", "--results", str(results))] == ["smoke"]
    suites = sorted(path.stem for path in (Path(__file__).resolve().parents[3] / "suites").glob("*.toml"))
    assert answered(capsys, "list", "suites") == [{"name": name} for name in suites]
    assert {"name": "pyztunnel"} in answered(capsys, "list", "dataplanes")
    assert obey(["list", "--results", "/nonexistent"]) == ExitCode.OK
    assert capsys.readouterr().out == "no runs in /nonexistent\n"
    assert obey(["list", "everything"]) == ExitCode.USAGE


def test_selftest_prints_the_calibration_and_fails_where_it_fails(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    recorded = ["--results", str(Path(__file__).resolve().parents[3] / "results")]

    found = answered(capsys, "selftest", "--aa", "2000", "--rounds", "30", *recorded, "--json")
    assert found["good"]
    assert [each["of"] for each in found["outcomes"]][:2] == [2000, 200]

    assert obey(["selftest", "--power", "--rounds", "6", *recorded]) == ExitCode.RUN_FAILED
    assert "✗  10% slower, found" in capsys.readouterr().out
    assert obey(["selftest", "--power", "--results", str(tmp_path)]) == ExitCode.USAGE
