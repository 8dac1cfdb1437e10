"""Options of commands: those that several commands have, many in one dataclass, and those that exclude each other."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Container
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

import typer

from deepeyes_env.seeds import MAX_SEED

T = TypeVar("T")
N = TypeVar("N", int, float)

EnvId = Annotated[str, typer.Option(help="Environment id; `deepeyes envs` lists them.")]
DataSource = Annotated[
    str, typer.Option(help="Data set: a .parquet, .tsv or .jsonl file, a V* folder, or a built-in task.")
]
InOrder = Annotated[
    bool, typer.Option("--in-order", help="Episode i plays sample i of the data set, instead of one drawn by seed.")
]
FirstSeed = Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Seed of the first episode; the next has the next.")]
RubricName = Annotated[str, typer.Option(help="Reward formula; auto is the environment's own, none gives no reward.")]
MaxPixels = Annotated[
    int | None, typer.Option(min=1, help="Pixels at which images are shown; by default what the data set recommends.")
]
PromptSourceName = Annotated[
    str,
    typer.Option(help="Whose words open an episode: row, protocol, or auto: the row's where it has any."),
]
PromptTemplateFile = Annotated[
    Path | None, typer.Option(help="YAML file of other words than the protocol's; see docs/prompts.md.")
]
MaxTurns = Annotated[int, typer.Option(min=1, help="Max turns (messages of the policy) in an episode.")]


def number_or_none(kind: Callable[[str], N], least: float) -> Callable[[str | N | None], N | None]:
    """Return the parser of an option that is a number or ``none``.

    Args:
        kind: ``int`` or ``float``.
        least: The smallest number.
    """

    def parse(value: str | N | None) -> N | None:
        if value is None or str(value).strip().lower() == "none":
            return None
        try:
            number = kind(str(value))
        except ValueError:
            raise typer.BadParameter(f"{value!r} is neither a number nor none") from None
        if not least <= number < math.inf:
            raise typer.BadParameter(f"{value} must be at least {least:g}, or none")
        return number

    return parse


def takes(options: type[T]) -> Callable[[Callable[[typer.Context, T], None]], Callable[..., None]]:
    """Make a command of a function that takes its options in one dataclass.

    Args:
        options: The dataclass: each field is an option, annotated as typer annotates a parameter.
    """
    hints = get_type_hints(options, include_extras=True)
    parameters = [
        parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY, annotation=hints[name])
        for name, parameter in inspect.signature(options).parameters.items()
    ]
    context = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)

    def decorate(command: Callable[[typer.Context, T], None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(ctx: typer.Context, **given: Any) -> None:
            command(ctx, options(**given))

        signature = inspect.Signature([context, *parameters])
        run.__signature__ = signature  # type: ignore[attr-defined]
        run.__annotations__ = {name: parameter.annotation for name, parameter in signature.parameters.items()}
        return run

    return decorate


def refuse_given(ctx: typer.Context, names: Container[str], why: str) -> None:
    """Refuse options that were given and that nothing would read; plugins may always be given."""
    given = []
    for option in ctx.command.params:
        source = ctx.get_parameter_source(option.name or "")
        if option.name in names and option.name != "plugin" and source is not None and source.name == "COMMANDLINE":
            given.append("/".join([*option.opts, *option.secondary_opts]))
    if given:
        raise typer.BadParameter(f"{why}: leave out {', '.join(given)}")
