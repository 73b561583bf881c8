"""A report in Debian's chromium, for several files of tests; nothing is fetched for it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

WIDE = ViewportSize(width=1280, height=900)
NARROW = ViewportSize(width=420, height=900)


def started() -> Iterator[Browser]:
    """The browser; the test is skipped where there is none, and fails there when CI says it has to work."""
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "chromium is not installed; as root, make test installs it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        # Without a sandbox of its own, which root cannot have: it opens a file that this test wrote.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def violations(page: Page, *, within: str = "html") -> list[tuple[str, str, str]]:
    """What axe finds wrong: rule, impact, first place. What is right is not listed, which is quicker."""
    found = Axe().run(page, context={"include": [[within]]}, options={"resultTypes": ["violations"]})
    return [
        (each["id"], each["impact"], each["nodes"][0]["html"][:200]) for each in found.response["violations"]
    ]


def written(page: str, folder: Path) -> str:
    """The address of a page that is put into a folder."""
    path = folder / "page.html"
    path.write_text(page, encoding="utf-8")
    return path.resolve().as_uri()
