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
        from deepeyes_env.extras import install_command

        sys.stderr.write(f"the deepeyes command needs typer and rich; run: {install_command('cli')}\n")
        raise SystemExit(2) from None
    try:
        app(prog_name="deepeyes")
    except Exception:  # a user's mistakes have been told by now
        sys.stderr.write("This is a bug in deepeyes_env, not a mistake of yours; please report it with all of this:\n")
        raise
