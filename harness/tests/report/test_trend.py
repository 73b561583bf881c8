"""`trend` as text, JSON and a page."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path

import pytest

from harness.analysis.compare import Side
from harness.analysis.trend import trends
from harness.cli import obey
from harness.errors import ExitCode
from harness.report.trend import html, text
from harness.results import baselines
from harness.tests.history import MESH, nights


def effect(night: int, side: Side) -> float:
    return 1.2 if night >= 9 and side == Side(configuration=MESH.key, metric="first.warm") else 1.0


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for each in nights(14, effect):
        baselines.save(tmp_path, each.shelf, each.document())
    return tmp_path


def test_text_shows_what_stepped_and_since_when(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    assert obey(["trend", "--results", str(results)]) == ExitCode.OK

    headline, _, *rows = capsys.readouterr().out.splitlines()
    assert "14 runs" in headline
    assert "1 of 5 series" in headline
    (row,) = rows
    assert row.startswith(MESH.key)
    assert "▲ +" in row
    assert "worse" in row
    assert "20260110-020000-nightly (00000000..00000000)" in row


def test_json_holds_every_series(capsys: pytest.CaptureFixture[str], results: Path) -> None:
    assert obey(["trend", "--json", "--results", str(results)]) == ExitCode.OK

    (found,) = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1
    assert len(found["series"]) == 5
    stepped = [each for each in found["series"] if each["steps"]]
    assert [(each["metric"], each["steps"][0]["at"]) for each in stepped] == [("first.warm", 9)]


def test_too_few_runs_say_how_many_are_needed() -> None:
    assert "6 or more" in text(trends(nights(3)))


def test_nothing_kept_says_what_to_do(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert obey(["trend", "--results", str(tmp_path)]) == ExitCode.USAGE
    assert "baseline save" in capsys.readouterr().err


def test_page_has_a_figure_for_each_of_the_default_s_metrics_and_loads_nothing() -> None:
    page = html(trends(nights(14, effect)))

    assert page.count("<figure") == 3
    figures = page[page.index("<figure") :]
    assert figures.index("first packet, warm of") < figures.index("later packets")  # what stepped comes first
    assert "default-src 'none'" in unescape(page)
    assert len(page.encode()) < 8_000_000
