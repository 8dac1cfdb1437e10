"""Opening the page in a browser without its token on a command line, which everybody on the machine can read."""

from __future__ import annotations

import html
import os
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REDIRECT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0;url={url}"><title>Play</title><a href="{url}">Play</a></html>
"""


@contextmanager
def opened(url: str, door: Path) -> Iterator[None]:
    """Open an address in the browser, by way of a file that only its owner can read and that is gone afterwards.

    Args:
        url: The address.
        door: The file; one that is there is replaced.
    """
    door.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(door, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(_REDIRECT.format(url=html.escape(url)))
        webbrowser.open(door.absolute().as_uri())
        yield
    finally:
        door.unlink(missing_ok=True)
