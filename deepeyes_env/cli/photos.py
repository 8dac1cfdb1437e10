"""``deepeyes photos``: a data set from real photographs."""

from __future__ import annotations

from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from deepeyes_env.cli.views import view_budget
from deepeyes_env.errors import UsageError
from deepeyes_env.images import ViewBudget
from deepeyes_env.seeds import MAX_SEED
from deepeyes_env.terminal import say


def photos(
    folder: Annotated[
        Path, typer.Argument(help="Folder of photographs, searched with its subfolders.", metavar="PHOTOS")
    ],
    out: Annotated[Path, typer.Argument(help="Parquet file to write, in the DeepEyes format.", metavar="OUT.parquet")],
    samples_per_photo: Annotated[int, typer.Option(min=1, help="Questions for each photograph.")] = 8,
    seed: Annotated[int, typer.Option(min=0, max=MAX_SEED, help="Another seed, other questions.")] = 0,
    test: Annotated[
        bool, typer.Option("--test", help="Plant scenes of the test split; no training scene equals them.")
    ] = False,
    easy: Annotated[float, typer.Option(min=0, max=1, help="Share of questions that need no zoom.")] = 0.3,
    max_side: Annotated[
        int | None, typer.Option(min=1, help="Scale longer photographs down to this many pixels.")
    ] = None,
    max_pixels: Annotated[
        int, typer.Option(min=1, help="Pixels of the view at which details are hidden; show the data set at the same.")
    ] = ViewBudget().max_pixels,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False,
) -> None:
    """Plant small objects with hidden details in photographs, and questions about them."""
    from deepeyes_env.data.photos import plant
    from deepeyes_env.files import refuse_existing

    if out.suffix.lower() != ".parquet":
        raise UsageError(f"{out}: is a parquet file to be; give it a name that ends in .parquet")
    refuse_existing(out, overwrite)
    count = plant(
        folder,
        out,
        samples_per_photo=samples_per_photo,
        split="test" if test else "train",
        seed=seed,
        easy=easy,
        max_side=max_side,
        view=view_budget(max_pixels),
    )
    say(
        f"{out}: {count} questions; play them with: deepeyes rollout --data {quote(str(out))} --max-pixels {max_pixels}"
    )
