"""A headless Chromium for the tests of pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@contextmanager
def chromium() -> Iterator[Any]:
    """A context of a new browser; skips the test where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM.exists():
        pytest.skip(f"no browser at {CHROMIUM}; apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS.split())
        yield browser.new_context()
        browser.close()


class Pages:
    """Pages of a browser, which are used again: opening one takes as long as many a test.

    Args:
        context: The browser's context.
    """

    def __init__(self, context: Any) -> None:
        self._context = context
        self._idle: list[Any] = []
        self._listeners: dict[Any, dict[str, Callable[[Any], None]]] = {}

    def open(self, width: int, height: int, scheme: str, listeners: dict[str, Callable[[Any], None]]) -> Any:
        """Return a blank page of a size and a colour scheme, with listeners by event."""
        page = self._idle.pop() if self._idle else self._context.new_page()
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme=scheme)
        for event, listener in listeners.items():
            page.on(event, listener)
        self._listeners[page] = listeners
        return page

    def close(self) -> None:
        """Blank all pages, for the next test."""
        for page, listeners in self._listeners.items():
            if page.is_closed():
                continue
            page.goto("about:blank")
            for event, listener in listeners.items():
                page.remove_listener(event, listener)
            self._idle.append(page)
        self._listeners.clear()


def wait_until(page, condition):
    """Wait for an expression of a page to be true; ``wait_for_function`` polls by ``eval``, which our pages forbid."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(25)
    raise AssertionError(f"still not true: {condition}")
