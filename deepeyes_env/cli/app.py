"""The commands together, and how they tell a user what went wrong."""

from __future__ import annotations

import errno
import functools
import importlib
import inspect
import itertools
import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import typer
from rich.text import Text
from typer.core import TyperGroup

from deepeyes_env.errors import DeepEyesError, UsageError
from deepeyes_env.images.folder import IMAGE_ROOT
from deepeyes_env.registry import load_installed_plugins, load_plugins, unknown_name
from deepeyes_env.telling import printable
from deepeyes_env.terminal import console, log_handler, say

COMMANDS = {
    "rollout": "deepeyes_env.agents.cli.rollout:rollout",
    "view": "deepeyes_env.agents.cli.view:view",
    "eval": "deepeyes_env.agents.cli.eval:evaluate",
    "credit": "deepeyes_env.agents.cli.credit:credit",
    "compare": "deepeyes_env.agents.cli.compare:compare",
    "curate": "deepeyes_env.agents.cli.curate:curate",
    "export": "deepeyes_env.agents.cli.export:export",
    "photos": "deepeyes_env.cli.photos:photos",
    "judge": "deepeyes_env.cli.judge:judge",
    "envs": "deepeyes_env.cli.envs:envs",
    "sandbox": "deepeyes_env.cli.sandbox:sandbox",
    "mcp": "deepeyes_env.cli.mcp:mcp",
    "play": "deepeyes_env.agents.cli.play:play",
    "train": "deepeyes_env.trainers.cli.train:train",
    "train-trl": "deepeyes_env.trainers.cli.train_trl:train_trl",
    "train-verl": "deepeyes_env.trainers.cli.train_verl:train_verl",
    "sft": "deepeyes_env.trainers.cli.sft:sft",
    "ablate": "deepeyes_env.trainers.cli.ablate:ablate",
    "conformance": "deepeyes_env.trainers.cli.conformance:conformance",
    "build-tiny": "deepeyes_env.trainers.cli.build_tiny:build_tiny",
}
"""Each command's function by name: a layer's commands are imported only when they are run or listed."""

USER_ERRORS = (DeepEyesError, OSError, gym.error.Error)
"""What wrong arguments, files and installations raise; everything else is a bug and shows its traceback."""

_FULL = {getattr(errno, name) for name in ("ENOSPC", "EDQUOT", "EFBIG") if hasattr(errno, name)}
_NO_ROOM = "free some space, then go on: what was written before is whole (--resume, where the command has it)"

_WRONG_USAGE: Any = typer.BadParameter.__base__
"""click's ``UsageError``, of the click that typer uses: its own, or the installed one."""


class Commands(TyperGroup):
    """The commands, imported lazily; a user's mistake is one line on standard error and exit status 1."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of all commands in the order of the help page."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import a command by name; ``None`` if there is none."""
        return _load(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that was typed.

        Raises:
            UnknownNameError: There is none; the message has the nearest name.
            UsageError: An argument of it is empty: a variable of the shell that was not set, mostly.
        """
        if args[0] not in COMMANDS and not args[0].startswith("-"):
            raise unknown_name("command", args[0], COMMANDS)
        _refuse_empty(args)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run a command; with ``--debug`` every error shows its traceback."""
        try:
            return super().invoke(ctx)
        except (typer.Exit, typer.Abort, BrokenPipeError):
            raise
        except USER_ERRORS as error:
            if ctx.params.get("debug"):
                raise
            console(stderr=True).print(Text("Error:", "red"), error_line(error), soft_wrap=True)
            raise typer.Exit(1) from None
        except _WRONG_USAGE as error:
            error.message = printable(error.message)  # quotes arguments
            raise


def _refuse_empty(args: Sequence[str]) -> None:
    for before, argument in itertools.pairwise(args):
        option = argument[:-1] if argument.startswith("--") and argument.endswith("=") else ""
        if option or not argument:
            named = option or (before if before.startswith("-") else f"an argument after {before}")
            raise UsageError(f"{named}: is empty; give it a value, or leave it out")


def error_line(error: Exception) -> str:
    """Return an error's message in one line; where the disk is full, with what to do about it."""
    line = " ".join(str(error).split()) or type(error).__name__
    return f"{line}; {_NO_ROOM}" if isinstance(error, OSError) and error.errno in _FULL else line


def _load(name: str) -> Any:
    module, _, function = COMMANDS[name].partition(":")
    single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode="rich")
    single.command(name=name)(_with_plugins(getattr(importlib.import_module(module), function)))
    return typer.main.get_command(single)


Plugins = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MODULE",
        help="Module or .py file that registers tools, rubrics, judges ... of your own; may be given several times.",
    ),
]


def _with_plugins(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the option ``--plugin``."""

    @functools.wraps(command)
    def run(*args: Any, plugin: list[str] | None, **kwargs: Any) -> None:
        load_plugins(plugin or ())
        command(*args, **kwargs)

    signature = inspect.signature(command, eval_str=True)
    option = inspect.Parameter("plugin", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Plugins)
    run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), option])  # type: ignore[attr-defined]
    run.__annotations__ = {name: parameter.annotation for name, parameter in run.__signature__.parameters.items()}  # type: ignore[attr-defined]
    return run


def _print_version(wanted: bool) -> None:
    if wanted:
        from deepeyes_env import __version__

        say(f"deepeyes_env {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Environments in which a vision-language model learns to think with images.",
)


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and log messages of all levels.")] = False,
    image_root: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Let data files name images in this folder too, not only beside themselves; before the command.",
        ),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version.")
    ] = False,
) -> None:
    """Set up logging, installed plugins and where images may lie for every command."""
    handler = log_handler(show_path=debug)
    if not debug:
        handler.addFilter(_without_traceback)
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="%(message)s", handlers=[handler])
    load_installed_plugins()
    if image_root is not None:
        os.environ[IMAGE_ROOT] = str(image_root.absolute())  # which processes that are started inherit


def _without_traceback(record: logging.LogRecord) -> bool:
    record.exc_info = None
    return True
