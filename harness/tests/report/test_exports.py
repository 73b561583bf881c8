"""Exports hold the findings' own figures, in a form that the other tool reads."""

from __future__ import annotations

import csv
import io
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics import parser

from harness.analysis.findings import Findings, analyse
from harness.cli import obey
from harness.errors import ExitCode
from harness.report.exports import as_bmf, as_csv, as_fortio, as_openmetrics
from harness.results.read import read
from harness.suite import load_suite
from harness.tests import synthetic


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    suite = load_suite("smoke", ["rounds=6", "load.first_packet.probes=20"])
    return analyse(read(synthetic.record(tmp_path_factory.mktemp("results"), suite)))


def test_csv_holds_every_round_of_every_metric(findings: Findings) -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(findings))))
    found = {(row["configuration"], row["metric"], int(row["round"])): float(row["value"]) for row in rows}

    assert found == {
        (each.configuration.key, each.metric, number): value
        for each in findings.measures.values()
        for number, value in each.per_round.items()
    }


def test_openmetrics_is_read_by_a_parser_of_openmetrics(findings: Findings) -> None:
    found: Any = parser
    families = {each.name: each for each in found.text_string_to_metric_families(as_openmetrics(findings))}
    assert set(families) == {
        "ambientbench_latency_seconds",
        "ambientbench_throughput_requests_per_second",
        "ambientbench_throughput_bits_per_second",
        "ambientbench_cpu_seconds",
        "ambientbench_cpu_per_gigabyte_seconds",
        "ambientbench_context_switches",
        "ambientbench_resident_memory_bytes",
    }
    sample = next(
        each
        for each in families["ambientbench_latency_seconds"].samples
        if each.labels["configuration"] == findings.default.key
        and (each.labels["metric"], each.labels["quantile"]) == ("first.warm", "0.5")
    )
    measure = findings.measure(findings.default, "first.warm")
    assert measure is not None
    p50 = measure.percentiles["p50"]
    assert p50 is not None
    assert sample.value == p50.value


def test_bmf_has_bounds_around_its_values(findings: Findings) -> None:
    document = json.loads(as_bmf(findings))
    found = document[f"{findings.default.key}/first.warm"]["latency"]
    assert found["lower_value"] <= found["value"] <= found["upper_value"]
    assert found["value"] > 1e5, "nanoseconds"
    assert set(document[f"{findings.default.key}/requests"]) == {"throughput"}


def test_fortio_counts_every_sample_once(findings: Findings) -> None:
    files = as_fortio(findings)
    assert len(files) == len(findings.configurations)
    for text in files.values():
        histogram = json.loads(text)["DurationHistogram"]
        data = histogram["Data"]
        assert sum(bucket["Count"] for bucket in data) == histogram["Count"] > 0
        assert data[-1]["Percent"] == 100
        assert data[0]["Start"] == histogram["Min"]
        assert data[-1]["End"] == pytest.approx(histogram["Max"])
        assert all(earlier["End"] <= later["Start"] for earlier, later in pairwise(data))


def test_files_are_written_where_asked(
    capsys: pytest.CaptureFixture[str], findings: Findings, tmp_path: Path
) -> None:
    run = str(findings.run.folder)
    assert obey(["export", run, "--format", "fortio"]) == ExitCode.USAGE
    capsys.readouterr()
    assert (
        obey(["export", run, "--format", "fortio", "--output", str(tmp_path / "f"), "--json"]) == ExitCode.OK
    )
    assert {Path(each) for each in json.loads(capsys.readouterr().out)} == set((tmp_path / "f").iterdir())
    assert obey(["export", run, "--format", "bmf", "--output", str(tmp_path / "bmf.json")]) == ExitCode.OK
    assert (tmp_path / "bmf.json").read_text() == as_bmf(findings)
    capsys.readouterr()
    assert obey(["export", run]) == ExitCode.OK
    assert capsys.readouterr().out == as_csv(findings)
