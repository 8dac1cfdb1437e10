"""The ``deepeyes`` command line."""

from __future__ import annotations

import sys

NEEDED = ("typer", "rich")


def main() -> None:
    """Run the command line; without typer and rich, say which extra brings them and exit with status 2."""
    try:
        from deepeyes_env.cli.app import app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in NEEDED:
            raise
        sys.stderr.write("the deepeyes command needs typer and rich; run: pip install 'deepeyes-env[cli]'\n")
        raise SystemExit(2) from None
    app(prog_name="deepeyes")
