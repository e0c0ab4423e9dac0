"""A headless Chromium, and pages opened in it that are watched from their first byte."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from convkit.comparison import Comparison
from convkit.report import write_report

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PATIENCE = 60_000
"""Milliseconds; the machine may be busy."""


@dataclass
class Opened:
    """A page, and what went on while it was open.

    Attributes:
        requests: every address that was asked for, `data:` left out.
        complaints: errors and warnings of the console, and exceptions.
    """

    page: Any
    path: Path
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Skipped where there is no browser, unless `CONVKIT_REQUIRE_BROWSER=1` says that there is."""
    required = os.environ.get("CONVKIT_REQUIRE_BROWSER") == "1"
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        reason = f"no browser: none of {', '.join(BROWSERS)} is on the path"
        if required:
            pytest.fail(reason)
        pytest.skip(reason)
    if not required:
        pytest.importorskip("playwright.sync_api")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=list(ARGUMENTS))
        yield running
        running.close()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Comparison], Path]:
    """Writes a report once and remembers it by its name."""
    folder = tmp_path_factory.mktemp("reports")

    def write(name: str, comparison: Comparison) -> Path:
        path = folder / f"{name}.html"
        if not path.exists():
            write_report(comparison, path)
        return path

    return write


@pytest.fixture
def show(browser: Any) -> Iterator[Callable[..., Opened]]:
    """Opens a file: `show(path, width=390, color_scheme="dark")`; waits until charts are drawn."""
    contexts: list[Any] = []

    def open_page(path: Path, width: int = 1280, **options: Any) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 844}, **options)
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        opened = Opened(context.new_page(), path)
        watch(opened)
        opened.page.goto(path.as_uri())
        if options.get("java_script_enabled", True):
            opened.page.wait_for_selector("html[data-charts=done]", state="attached")
        return opened

    yield open_page
    for context in contexts:
        context.close()


def watch(opened: Opened) -> None:
    """Keep what the page asks for and complains about."""

    def said(message: Any) -> None:
        if message.type in ("error", "warning"):
            opened.complaints.append(message.text)

    def asked(request: Any) -> None:
        if not request.url.startswith("data:"):
            opened.requests.append(request.url)

    opened.page.on("console", said)
    opened.page.on("pageerror", lambda error: opened.complaints.append(str(error)))
    opened.page.on("request", asked)
