"""The page needs no network, shows what was found and cannot be made to run what a run's names hold."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import hashlib
import itertools
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from harness.analysis.findings import Findings, analyse
from harness.report import matrix, save, summary
from harness.report.cell import checks
from harness.report.figures import all_figures, known
from harness.report.figures._figure import DARK
from harness.report.figures.distribution import POINTS, thinned
from harness.report.markdown import markdown
from harness.report.page import render
from harness.results import layout
from harness.results.read import read
from harness.suite import load_suite
from harness.tests import synthetic

CODE = {None, "text/plain"}
"""Types of the page's own scripts: that which runs at once, and plotly, packed, which that one runs later."""
HOSTILE = "</script><img src=x onerror=alert(1)>{{7*7}}`|"


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    suite = load_suite("quick", ["most_rounds=6"], dataplanes=("none", "pyztunnel"))
    return analyse(read(synthetic.record(tmp_path_factory.mktemp("results"), suite)))


@pytest.fixture(scope="module")
def page(findings: Findings) -> str:
    return render(findings)


class Elements(HTMLParser):
    """Every element with its attributes, and each script's text."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._in: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        self._in = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, _tag: str) -> None:
        self._in = None

    def handle_data(self, data: str) -> None:
        if self._in == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._in != "style":
            self.text += data + " "


def test_nothing_is_loaded_from_anywhere(page: str) -> None:
    for tag, attributes in Elements(page).found:
        for name in ("src", "href", "action", "poster", "srcset", "data", "formaction"):
            value = attributes.get(name)
            assert value is None or value.startswith(("#", "data:")), (tag, name, value)
        assert not any(name.startswith("on") for name in attributes), (tag, attributes)
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_policy_allows_the_page_s_own_scripts_alone(page: str) -> None:
    elements = Elements(page)
    policy = next(
        attributes["content"] or ""
        for tag, attributes in elements.found
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    directives = {part.split()[0]: part.split()[1:] for part in policy.split(";")}
    running = [
        gzip.decompress(base64.b64decode(text)).decode() if attributes.get("id") == "plotly" else text
        for attributes, text in elements.scripts
        if attributes.get("type") in CODE
    ]

    assert directives["default-src"] == ["'none'"]
    assert "connect-src" not in directives
    expected = {
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in running
    }
    assert set(directives["script-src"]) == expected
    assert len(running) == 2


def test_page_of_a_hundred_cells_is_under_three_megabytes(page: str) -> None:
    """The bound is eight, for a night's thousand cells."""
    assert len(page.encode()) < 3_000_000


def test_a_law_that_does_not_hold_shows_its_zero() -> None:
    held = {"SYNs sent": 82, "SYNs elsewhere": 0, "resets": 0, "hits": 0, "hits expected": 82}

    assert checks.told(held) == "SYNs sent 82, hits 0, hits expected 82, others: 0"


def test_a_cell_costs_little(findings: Findings) -> None:
    """So that a thousand of them stay within the page's eight megabytes, of which plotly.js has two."""
    found = json.dumps(matrix.document(findings), separators=(",", ":"))

    assert len(found) / len(findings.cells) < 4000


def test_hostile_names_stay_text(findings: Findings) -> None:
    manifest = dataclasses.replace(
        findings.run.manifest,
        run=HOSTILE,
        reason=HOSTILE,
        engine=HOSTILE,
        command=(HOSTILE,),
        suite={**findings.run.manifest.suite, "description": HOSTILE, "name": HOSTILE},
        members={"proxies": {HOSTILE: {"python": HOSTILE}}},
    )
    environment = {"host": {HOSTILE: HOSTILE}, "software": {"python": HOSTILE}}
    run = dataclasses.replace(findings.run, manifest=manifest, environment=environment)

    page = render(dataclasses.replace(findings, run=run))

    elements = Elements(page)
    assert "img" not in {tag for tag, _ in elements.found}
    assert elements.text.count(HOSTILE) >= 5
    assert "49" not in re.findall(r"onerror=alert\(1\)&gt;(.{0,4})", page)
    assert len([1 for attributes, _ in elements.scripts if attributes.get("type") in CODE]) == 2


def test_first_screen_answers_before_any_figure(page: str, findings: Findings) -> None:
    text = page[: page.index('class="plot"')]
    for each in findings.answer:
        assert each.question in text
    for comparison in findings.first_packet[:1]:
        assert comparison.ratio is not None
    assert "13." in text or "12." in text  # a cold first packet against a later one, as the truth has it


def test_every_figure_says_what_it_shows(findings: Findings) -> None:
    figures = all_figures(findings)

    assert len(figures) >= 10
    assert len({figure.name for figure in figures}) == len(figures)
    for figure in figures:
        layout_ = figure.plot.layout
        assert figure.question.endswith("?")
        assert figure.reading.endswith(".")
        assert re.search(r"n = ", figure.caption), figure.name
        assert layout_.xaxis.title.text, figure.name
        assert layout_.yaxis.title.text or layout_.yaxis.ticktext, figure.name
        assert figure.rows
        assert all(len(row) == len(figure.columns) for row in figure.rows)


def test_table_twins_hold_what_is_drawn(findings: Findings) -> None:
    """Every drawn value is in the figure's table.

    A distribution's table holds its percentiles instead, that of turns each lane's median and ends.
    """
    for figure in all_figures(findings):
        if figure.section == "distributions" or figure.name == "turns":
            continue
        numbers = [value for row in figure.rows for value in row if isinstance(value, float | int)]
        for trace in figure.plot.data:
            values = trace.y if figure.name in {"rounds", "filler-rules"} else trace.x
            for value in values:
                assert any(abs(value - each) <= 1e-12 + 1e-9 * abs(value) for each in numbers), figure.name


def test_turns_are_drawn_a_line_per_lane_of_one_bout(findings: Findings) -> None:
    (turns,) = [figure for figure in all_figures(findings) if figure.name == "turns"]

    assert [f"lane {lane}" for lane in range(1, 7)] == sorted(str(row[0])[:6] for row in turns.rows)
    for trace, row in zip(turns.plot.data, turns.rows, strict=True):
        assert (row[0], row[1]) == (trace.name, len(trace.y))
        median = row[2]
        assert isinstance(median, float)
        assert min(trace.y) - 0.01 <= median <= max(trace.y) + 0.01


def test_series_are_told_apart_without_colour(findings: Findings) -> None:
    for figure in all_figures(findings):
        looks = [
            trace.marker.pattern.shape
            if trace.type == "bar"
            else (trace.marker.symbol, trace.line.dash, trace.line.width)
            for trace in figure.plot.data
        ]
        assert len(set(looks)) == len(looks), figure.name


def test_colours_have_a_counterpart_on_dark(findings: Findings) -> None:
    used = {
        colour
        for figure in all_figures(findings)
        for colour in re.findall(r"#[0-9a-fA-F]{6}", json.dumps(figure.drawing()))
    }
    assert used <= set(DARK)


def test_colours_are_readable_on_their_background() -> None:
    """WCAG 2.2: 4.5:1 for text of normal size; verdict words use these colours as text."""
    for light, dark in DARK.items():
        assert contrast(light, "#ffffff") >= 4.5, light
        assert contrast(dark, "#191e26") >= 4.5, dark


def contrast(one: str, other: str) -> float:
    first, second = sorted((luminance(one), luminance(other)), reverse=True)
    return (first + 0.05) / (second + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_page_can_be_read_without_script_or_mouse(page: str) -> None:
    elements = Elements(page)
    plots = [a for tag, a in elements.found if tag == "div" and a.get("class") == "plot"]
    details = [tag for tag, _ in elements.found if tag == "details"]

    assert plots
    assert all(attributes.get("role") == "img" and attributes.get("aria-label") for attributes in plots)
    assert len(details) >= len(plots)
    assert all(
        attributes.get("tabindex") == "0"
        for tag, attributes in elements.found
        if tag == "div" and attributes.get("class") == "scroll"
    )
    identifiers = [a["id"] for _, a in elements.found if "id" in a]
    assert len(set(identifiers)) == len(identifiers)
    anchors = [a["href"] for tag, a in elements.found if tag == "a" and a.get("href", "")]
    assert all(anchor is not None and anchor[1:] in identifiers for anchor in anchors)
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(later - earlier <= 1 for earlier, later in itertools.pairwise(levels))


def test_distribution_keeps_its_ends() -> None:
    values, shares = thinned(np.sort(np.random.default_rng(1).lognormal(size=100_000)))

    assert len(values) == POINTS
    assert (shares[0], shares[-1]) == (1e-5, 1)
    assert np.all(np.diff(values) >= 0)


def test_save_writes_all_three_and_can_be_repeated(findings: Findings) -> None:
    folder = findings.run.folder

    page = save(findings, folder)
    first = page.read_bytes()
    save(findings, folder)

    assert page == folder / layout.REPORT
    assert page.read_bytes() == first
    assert json.loads((folder / layout.FINDINGS).read_text())["schema_version"] == 1
    assert (folder / layout.SUMMARY).read_text() == markdown(findings)


def test_terminal_is_plain_where_there_is_no_terminal(findings: Findings) -> None:
    text = summary(findings)

    assert "\x1b" not in text
    assert all(len(line) <= 120 for line in text.splitlines())
    assert "108 of 108 cells measured, 108 valid" in text
    assert "▲ costs" in text
    assert "\x1b[" in summary(findings, colour=True, width=120)


def test_terminal_and_markdown_say_the_same_as_the_page(findings: Findings, page: str) -> None:
    text = Elements(page).text.replace("\u00a0", " ")
    terminal = re.sub(r"\s+", " ", summary(findings, width=400))
    for each in findings.answer:
        assert each.sentence in text
        assert each.sentence in terminal
        assert each.sentence.replace("_", "\\_") in markdown(findings)


def test_markdown_escapes_names(findings: Findings) -> None:
    manifest = dataclasses.replace(findings.run.manifest, run=HOSTILE, reason="a | b")
    text = markdown(dataclasses.replace(findings, run=dataclasses.replace(findings.run, manifest=manifest)))

    assert "<img" not in re.sub(r"\\<", "", text)
    assert "a \\| b" in text


def test_a_run_without_valid_cells_still_has_a_page(tmp_path: Path) -> None:
    suite = load_suite("smoke", dataplanes=("none", "pyztunnel"))
    run = synthetic.record(tmp_path, suite, spoil=lambda _cell, evidence: evidence.pop("rules"))

    findings = analyse(read(run))
    page = render(findings)

    assert findings.counts()["unknown"] == 7
    assert "No comparison could be made" in page or "open" in page
    assert "unknown" in summary(findings)


def test_figures_are_found_by_name() -> None:
    assert next(iter(known())) == "first_packet"
    orders = [module.ORDER for module in known().values()]
    assert orders == sorted(orders)
    assert len(set(orders)) == len(orders)
