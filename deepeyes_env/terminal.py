"""Writing to the terminal: texts of strangers appear as they are, and cannot command it."""

from __future__ import annotations

import logging
from typing import Any

from deepeyes_env.extras import needs_extra
from deepeyes_env.telling import printable


def console(*, stderr: bool = False) -> Any:
    """Return a ``rich.console.Console`` that reads no markup in texts and shows escape sequences instead of obeying."""
    with needs_extra("cli"):
        from rich.console import Console

    class PlainConsole(Console):
        def render_str(self, text: str, **options: Any) -> Any:
            return super().render_str(printable(text), **options)

    return PlainConsole(stderr=stderr, markup=False, emoji=False, highlight=False)


def log_handler(*, show_path: bool) -> logging.Handler:
    """Return a handler that writes log messages to standard error."""
    from rich.logging import RichHandler

    class PlainHandler(RichHandler):
        def render_message(self, record: logging.LogRecord, message: str) -> Any:
            return super().render_message(record, printable(message))

    return PlainHandler(console=console(stderr=True), show_path=show_path, markup=False)


def say(text: str, *, err: bool = False) -> None:
    """Print a text in lines of their own."""
    import typer

    typer.echo(printable(text), err=err)
