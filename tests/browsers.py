"""A headless browser: the distribution's Chromium, driven by Playwright."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_NOTE_VIOLATIONS = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) => violations.push(event.violatedDirective));
"""


@contextmanager
def headless() -> Iterator[Browser]:
    """The browser; skips the test where there is none."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="needs playwright, of the dev extra"
    )
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip(f"needs a browser on the PATH: one of {', '.join(NAMES)}")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """A page, with everything that it asked for and complained of."""

    def __init__(self, browser: Browser, **options: Any) -> None:
        self.context = browser.new_context(**options)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.add_init_script(_NOTE_VIOLATIONS)
        self.requests: list[str] = []
        self.problems: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("console", lambda message: self.problems.append(message.text))

    def open(self, url: str) -> Page:
        """Go to an address and wait for the first rows."""
        self.page.goto(url)
        self.page.wait_for_selector(".row, .tree", state="attached")
        return self.page

    def close(self) -> None:
        """Check that nothing was complained of, and close the page."""
        violations = self.page.evaluate("window.violations")
        self.context.close()
        assert (violations, self.problems) == ([], [])
