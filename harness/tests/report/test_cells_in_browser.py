"""From the matrix to a cell; tables that sort, search and are taken away: by mouse, by keyboard alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from harness.analysis.findings import analyse
from harness.analysis.trend import trends
from harness.plan.model import Cell
from harness.report.page import render
from harness.report.trend import html
from harness.results.read import read
from harness.suite import load_suite
from harness.tests import synthetic
from harness.tests.history import nights
from harness.tests.report.browsing import NARROW, WIDE, started, violations, written


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The address of a quick run's page, one of whose cells lacks evidence."""
    suite = load_suite("quick", ["most_rounds=6"], dataplanes=("none", "pyztunnel"))

    def spoil(cell: Cell, evidence: dict[str, Any]) -> None:
        if cell.index == 3:
            evidence.pop("rules")

    folder = synthetic.record(tmp_path_factory.mktemp("results"), suite, spoil=spoil)
    return written(render(analyse(read(folder))), folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from started()


@pytest.fixture
def page(browser: Browser, report: str) -> Iterator[Page]:
    with browser.new_context(viewport=WIDE, offline=True) as context:
        page = context.new_page()
        page.goto(report)
        yield page


@pytest.mark.parametrize(
    "look", [{}, {"color_scheme": "dark"}, {"viewport": NARROW}], ids=["light", "dark", "narrow"]
)
def test_axe_finds_nothing_wrong_with_an_open_cell(
    browser: Browser, report: str, look: dict[str, Any]
) -> None:
    with browser.new_context(**{"viewport": WIDE, **look}) as context:
        page = context.new_page()
        page.goto(report)
        page.locator("#matrix button[data-cell='3']").click()
        page.locator("#cell .main-svg").first.wait_for()

        assert [] == violations(page, within="#cells")
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_axe_finds_nothing_wrong_with_a_trend(browser: Browser, tmp_path: Path) -> None:
    asked: list[str] = []
    with browser.new_context(viewport=WIDE) as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        address = written(html(trends(nights(10))), tmp_path)
        page.goto(address)
        page.locator(".main-svg").first.wait_for()

        assert [] == violations(page)
        assert asked == [address]


def test_first_screen_answers_on_its_own(page: Page) -> None:
    bottoms = page.locator("#answer .card.path").evaluate_all(
        "(all) => all.map((each) => each.getBoundingClientRect().bottom)"
    )

    assert len(bottoms) == 3
    assert max(bottoms) <= WIDE["height"]


def tab_to(page: Page, selector: str, limit: int = 400) -> None:
    """Press the tab key until the focus is on it."""
    for _ in range(limit):
        page.keyboard.press("Tab")
        if page.evaluate("(selector) => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"{selector} was not reached by {limit} presses of the tab key")


def test_the_keyboard_alone_opens_a_cell_and_walks_its_rounds(page: Page) -> None:
    tab_to(page, "#matrix button")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    title = page.locator("#cell-title")
    expect(title).to_contain_text("round 2")
    expect(title).to_be_focused()

    tab_to(page, "#cell [data-step='1']", limit=5)
    page.keyboard.press("Enter")

    expect(title).to_contain_text("round 3")  # the address changes first, and the page follows it
    assert page.locator("#cell h4").count() >= 5
    expect(title).to_be_focused()
    tab_to(page, "#cell [data-back]", limit=5)
    page.keyboard.press("Enter")
    expect(page.locator("#matrix button:focus")).to_have_count(1)


def test_the_keyboard_alone_sorts_and_searches_a_table(page: Page) -> None:
    summary = page.locator("#factors > details > summary")
    summary.focus()
    page.keyboard.press("Enter")
    tab_to(page, "#factors input[type=search]", limit=4)
    page.keyboard.type("same-node conntrack")
    shown = page.locator("#factors > details tbody tr:visible")
    words = [text.lower() for text in shown.all_inner_texts()]
    assert words
    assert all("same-node" in text and "conntrack" in text for text in words)
    assert page.locator("#factors > details [role=status]").inner_text().startswith(f"{len(words)} of ")

    tab_to(page, "#factors th:nth-child(5) .sort", limit=8)
    page.keyboard.press("Enter")

    ratios = [
        float(text.split()[0])
        for text in page.locator("#factors > details tbody tr:visible td:nth-child(5)").all_inner_texts()
    ]
    assert ratios == sorted(ratios)
    assert page.locator("#factors th:nth-child(5)").first.get_attribute("aria-sort") == "ascending"


def test_values_sort_by_what_they_are_worth(page: Page) -> None:
    unsorted = ["1.09 ms (1.0 to 1.2)", "–", "182 µs", "2,000 s", "-3 ms"]

    found = page.evaluate("(texts) => texts.sort(compared)", unsorted)

    assert found == ["-3 ms", "182 µs", "1.09 ms (1.0 to 1.2)", "2,000 s", "–"]


def test_a_cell_has_an_address(browser: Browser, page: Page) -> None:
    page.locator("#matrix button[data-cell='3']").click()
    address = page.evaluate("location.href")

    with browser.new_context(viewport=WIDE) as context:
        other = context.new_page()
        other.goto(address)

        assert "unknown" in other.locator("#cell-title").inner_text()
        first = other.locator("#cell-blocks tbody tr").filter(has_text="?\u00a0unknown").first
        assert "rules" in first.inner_text()


def test_the_matrix_shows_another_metric(page: Page) -> None:
    square = page.locator("#matrix button[data-cell] .value").first
    before = square.inner_text()

    page.locator("#matrix-metric").select_option(label="bulk throughput")

    assert square.inner_text() != before
    assert "b/s" in square.inner_text()


def test_a_table_is_saved_as_csv(page: Page, tmp_path: Path) -> None:
    with page.expect_download() as download:
        page.locator("#claims .take").click()
    saved = tmp_path / "claims.csv"
    download.value.save_as(saved)

    assert saved.read_text().splitlines()[0] == '"#","claim","verdict","because"'


def test_a_page_without_script_still_reads(browser: Browser, report: str) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(report)

        assert page.locator("#answer .big").count() >= 3
        assert page.locator("#matrix button").count() == 90
        assert "no figures" in page.locator("noscript p").inner_text()
