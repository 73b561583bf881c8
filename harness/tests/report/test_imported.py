"""Fortio's results beside ours: read as Fortio writes them, refused when they do not add up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.analysis.findings import analyse
from harness.analysis.fortio import Fortio, NotFortio
from harness.cli import obey
from harness.errors import ExitCode
from harness.report.exports import as_fortio
from harness.report.figures import imported
from harness.results.read import read
from harness.suite import load_suite
from harness.tests import synthetic

RESULT: dict[str, Any] = {
    # the shape of `fortio load -qps 1000 -json - URL`, fortio 1.75
    "RunType": "HTTP",
    "Labels": "nginx through the mesh",
    "StartTime": "2026-01-02T03:04:05.678+00:00",
    "RequestedQPS": "1000",
    "ActualQPS": 998.7,
    "NumThreads": 4,
    "DurationHistogram": {
        "Count": 2000,
        "Data": [
            {"Start": 0.0002, "End": 0.0004, "Percent": 50, "Count": 1000},
            {"Start": 0.0004, "End": 0.0010, "Percent": 95, "Count": 900},
            {"Start": 0.0010, "End": 0.0050, "Percent": 100, "Count": 100},
        ],
    },
    "RetCodes": {"200": 1990, "503": 10},
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("results")
    synthetic.record(root, load_suite("smoke", ["rounds=2"], dataplanes=("none", "pyztunnel")), run="run")
    return root


def test_percentiles_are_interpolated_as_fortio_does() -> None:
    found = Fortio.from_document(RESULT, "result")

    assert found.percentile(0.5) == pytest.approx(0.0004)
    assert found.percentile(0.9) == pytest.approx(0.0004 + 40 / 45 * 0.0006)
    assert found.percentile(0.999) is None  # 2,000 samples are too few for it
    assert (found.n, found.failed) == (2000, 10)


def test_what_we_export_is_read_back_with_our_own_percentiles(results: Path) -> None:
    findings = analyse(read(results / "run"))

    for text in as_fortio(findings).values():
        document = json.loads(text)
        found = Fortio.from_document(document, "ours")
        measure = next(
            each
            for each in findings.measures.values()
            if each.metric == "rate" and document["Labels"].endswith(each.configuration.key)
        )
        median = found.percentile(0.5)
        assert median == pytest.approx(float(np.median(measure.pooled)), rel=0.05)
        assert found.failed == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"DurationHistogram": None},
        {"DurationHistogram": {"Count": 0, "Data": []}},
        {**RESULT, "DurationHistogram": {**RESULT["DurationHistogram"], "Count": 1999}},
        {**RESULT, "DurationHistogram": {"Count": 2000, "Data": RESULT["DurationHistogram"]["Data"][::-1]}},
    ],
)
def test_what_does_not_add_up_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(NotFortio, match="import result"):
        Fortio.from_document(wrong, "result")


def test_an_imported_result_stands_in_the_report_beside_ours(
    capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path
) -> None:
    file = tmp_path / "nginx.json"
    file.write_text(json.dumps(RESULT))

    assert obey(["import", "run", str(file), "--results", str(results)]) == ExitCode.OK

    assert "nginx" in capsys.readouterr().out
    (figure,) = imported.figures(analyse(read(results / "run")))
    assert "Fortio, nginx" in [row[0] for row in figure.rows]
    assert any(str(row[0]).startswith("ours, ") for row in figure.rows)


def test_nothing_is_kept_of_a_file_that_is_refused(
    capsys: pytest.CaptureFixture[str], results: Path, tmp_path: Path
) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(RESULT))
    bad.write_text("[]")

    assert obey(["import", "run", str(good), str(bad), "--results", str(results)]) == ExitCode.USAGE

    assert "bad.json" in capsys.readouterr().err
    assert not (results / "run" / "imported" / "good.json").exists()
