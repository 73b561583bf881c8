"""The page in a real browser: Debian's chromium, which must be installed; nothing is fetched for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from harness.analysis.findings import analyse
from harness.report import save
from harness.results.read import read
from harness.suite import load_suite
from harness.tests import synthetic
from harness.tests.report.browsing import NARROW, WIDE, started, violations

OPENS_WITHIN_S = 2.0
"""Of its own computing, which is all that opening a file takes; other tenants' time does not count."""
FOCUSABLE = """() => [...document.querySelectorAll('a[href], button, input, summary, [tabindex="0"]')]
    .filter((each) => each.checkVisibility() && !each.disabled && each.tabIndex >= 0)
    .map((each) => { each.dataset.seen = 'no'; return each; }).length"""
MEET = """() => {
    const at = document.activeElement;
    const style = getComputedStyle(at);
    const visible = style.outlineStyle !== 'none' || style.boxShadow !== 'none';
    if (at === document.body) return 'end';
    const news = at.dataset.seen === 'no';
    at.dataset.seen = 'yes';
    return visible ? (news ? 'new' : 'again') : `no focus ring: ${at.outerHTML.slice(0, 80)}`;
}"""


FEWER = (
    "matrix=[{path=['cross-node'], dataplane=['none']}, "
    "{path=['cross-node'], dataplane=['pyztunnel'], interception=['redirect'], reuse=['on', 'off']}, "
    "{path=['cross-node'], dataplane=['pyztunnel'], interception=['tproxy-notrack'], reuse=['on']}, "
    "{path=['out-of-mesh'], dataplane=['pyztunnel'], interception=['redirect'], reuse=['on']}]"
)
"""Every kind of figure and table with fewer rows: axe looks at each element, and takes a while for it."""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _report(tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def shorter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _report(tmp_path_factory.mktemp("results"), FEWER)


def _report(results: Path, *changes: str) -> Path:
    run = synthetic.record(
        results, load_suite("quick", ["most_rounds=6", *changes], dataplanes=("none", "pyztunnel"))
    )
    return save(analyse(read(run)), run)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from started()


@pytest.fixture(autouse=True)
def _closed(browser: Browser) -> Iterator[None]:
    """No page goes on in the background of the next test."""
    yield
    for context in browser.contexts:
        context.close()


def _open(browser: Browser, report: Path, **context: Any) -> Page:
    page = browser.new_context(**{"viewport": WIDE, "offline": True, **context}).new_page()
    page.goto(report.as_uri())
    _await_script(page)
    return page


@pytest.mark.parametrize(
    "context",
    [{}, {"color_scheme": "dark"}, {"viewport": NARROW}],
    ids=["light", "dark", "narrow"],
)
def test_everybody_can_read_it(browser: Browser, shorter: Path, context: dict[str, Any]) -> None:
    page = _open(browser, shorter, **context)
    page.evaluate("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    _draw_all(page)

    assert [] == [each for each in violations(page) if each[1] in {"serious", "critical"}]


def test_axe_is_heard(browser: Browser) -> None:
    page = browser.new_context().new_page()
    page.set_content("<html lang='en'><title>x</title><body><main><h1>x</h1><img src='data:,'></main>")

    assert [("image-alt", "critical")] == [each[:2] for each in violations(page)]


def test_nothing_is_asked_of_any_network_and_no_script_fails(browser: Browser, shorter: Path) -> None:
    context = browser.new_context(viewport=WIDE)
    page = context.new_page()
    asked: list[str] = []
    failed: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)
    page.goto(shorter.as_uri())
    _draw_all(page)

    assert [shorter.as_uri()] == [url for url in asked if not url.startswith("data:")]
    assert failed == []


def test_it_opens_at_once(browser: Browser, report: Path) -> None:
    page = browser.new_context(viewport=WIDE).new_page()
    developer = page.context.new_cdp_session(page)
    developer.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(report.as_uri())
    found = developer.send("Performance.getMetrics")["metrics"]

    (seconds,) = [each["value"] for each in found if each["name"] == "ThreadTime"]
    assert seconds < OPENS_WITHIN_S


def test_figures_are_drawn_as_they_come_near(browser: Browser, shorter: Path) -> None:
    page = _open(browser, shorter)
    before = page.locator(".plot:has(.main-svg)").count()

    _draw_all(page)

    assert before < page.locator(".plot").count() == page.locator(".plot:has(.main-svg)").count()


def test_the_keyboard_reaches_everything(browser: Browser, report: Path) -> None:
    """Tab goes through all that can be used, each with a visible focus, and back to the start."""
    page = _open(browser, report)
    wanted = page.evaluate(FOCUSABLE)
    met = []
    for _ in range(wanted + 5):
        page.keyboard.press("Tab")
        met.append(page.evaluate(MEET))
        if met[-1] == "end":
            break

    assert [] == [each for each in met if each.startswith("no focus")]
    assert wanted == met.count("new")


def test_the_keyboard_opens_what_is_folded(browser: Browser, report: Path) -> None:
    page = _open(browser, report)
    summary = page.locator("summary").first
    summary.focus()
    page.keyboard.press("Enter")

    assert summary.evaluate("each => each.parentElement.open")


def test_no_screen_scrolls_sideways(browser: Browser, report: Path) -> None:
    for viewport in (WIDE, NARROW):
        page = _open(browser, report, viewport=viewport)

        assert page.evaluate("document.documentElement.scrollWidth") <= viewport["width"]


def test_a_theme_is_switched_and_remembered(browser: Browser, report: Path) -> None:
    page = _open(browser, report, color_scheme="light")
    paper = "getComputedStyle(document.body).backgroundColor"
    light = page.evaluate(paper)
    page.get_by_role("button", name="Switch between light and dark").press("Enter")
    dark = page.evaluate(paper)
    page.reload()
    _await_script(page)

    assert dark != light
    assert dark == page.evaluate(paper)


def _await_script(page: Page) -> None:
    # The page's policy forbids what `wait_for_function` does.
    page.locator("button.theme").wait_for(state="visible")


def _draw_all(page: Page) -> None:
    for plot in page.locator(".plot").all():
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()
