"""A page of `detect.py try --page` in a real browser: Debian's chromium, driven by Playwright, from the disk."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from detection import page as pages
from detection.outcome import Outcome
from playwright.sync_api import Browser, Page, expect, sync_playwright

from support import outcomes

CHROMIUM = shutil.which("chromium")
FLAGS = ["--no-sandbox", "--no-first-run", "--disable-background-networking", "--disable-component-update"]
FLAGS += ["--disable-sync", "--disable-gpu", "--disable-quic"]


SECONDS = 120.0  # for what takes far less
expect.set_options(timeout=1000 * SECONDS)

needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="there is no chromium; on Debian: apt-get install chromium, or .ci/run packages"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS, timeout=1000 * SECONDS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def fleet() -> Outcome:
    return outcomes.fleet(devices=12, reports=96)


@pytest.fixture(scope="module")
def written(fleet: Outcome, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "fleet.html"
    pages.write(path, fleet.document(), fleet.series)
    return path


Opener = Callable[..., Page]


@pytest.fixture
def opened(browser: Browser) -> Iterator[Opener]:
    """Open a page; at the end, no script may have failed or printed, and nothing but the file been asked for."""
    contexts: list[Any] = []
    trouble: list[str] = []
    requests: list[str] = []

    def open_page(path: Path, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1300, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(1000 * SECONDS)
        page.on("console", lambda message: trouble.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(f"error: {error}"))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert trouble == []
    assert all(url.startswith("file:///") and url.endswith(".html") for url in requests), requests


def choose(page: Page, words: str) -> None:
    """Open the first row that has these words, and wait until it is shown."""
    page.locator("#filter").fill(words)
    page.locator("#rows button").first.click()
    expect(page.locator("#detail-title")).to_be_focused()
    page.locator("#filter").fill("")
