"""The master's page in a real browser: one browser for a run, a fresh profile for each page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.cluster.harness import Cluster

WAIT_MS = 30_000
DESKTOP = (1280, 720)
BIG = (1920, 1080)
PHONE = (390, 844)
_ARGUMENTS = [
    "--no-sandbox",  # it runs as root in CI, and sees nothing but our own page
    "--disable-gpu",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@contextmanager
def running_browser() -> Iterator[Browser]:
    names = (os.environ.get("CHROMIUM", ""), "chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    assert path is not None, "no Chromium: scripts/test_browser installs one"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        yield browser
        browser.close()


class Visitor:
    """Opens pages of a cluster, and notes what their consoles complain of."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self.complaints: list[str] = []
        self.expected: list[str] = []
        """Parts of complaints that belong to what a test does."""

    def visit(
        self,
        cluster: Cluster,
        view: str = "",
        *,
        size: tuple[int, int] = DESKTOP,
        theme: str = "light",
        language: str = "en-US",
    ) -> Page:
        """`view`: what follows `#/` in the address."""
        context = self._browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=theme,
            locale=language,
            reduced_motion="reduce",
        )
        context.set_default_timeout(WAIT_MS)
        self._contexts.append(context)
        page = context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        go(page, cluster, view)
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.text} ({message.location.get('url')})")

    def unexpected(self) -> list[str]:
        return [one for one in self.complaints if not any(part in one for part in self.expected)]

    def close(self) -> None:
        for context in self._contexts:
            context.close()


def url_of(cluster: Cluster) -> str:
    return str(cluster.document()["page_url"])


def go(page: Page, cluster: Cluster, view: str) -> None:
    """Go to a view, and wait until it shows something."""
    page.goto(f"{url_of(cluster)}#/{view}")
    key = view.replace("jobs/", "job/") if "/" in view else f"{view or 'cluster'}/"
    page.wait_for_selector(f"main .view[data-key='{key}'] .panel, main .token")
    expect(page.locator(".loading")).to_have_count(0, timeout=WAIT_MS)
