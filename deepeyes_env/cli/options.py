"""Options that exclude each other."""

from __future__ import annotations

from collections.abc import Container

import typer


def refuse_given(ctx: typer.Context, names: Container[str], why: str) -> None:
    """Refuse options that were given and that nothing would read; plugins may always be given."""
    given = []
    for option in ctx.command.params:
        source = ctx.get_parameter_source(option.name or "")
        if option.name in names and option.name != "plugin" and source is not None and source.name == "COMMANDLINE":
            given.append("/".join([*option.opts, *option.secondary_opts]))
    if given:
        raise typer.BadParameter(f"{why}: leave out {', '.join(given)}")
