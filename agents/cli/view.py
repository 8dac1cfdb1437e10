"""``deepeyes view``: the trajectory page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def view(
    run: Annotated[Path, typer.Argument(help="Run folder, as `deepeyes rollout --out` writes it.", metavar="RUN")],
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write the page to. By default the run folder itself becomes the page."),
    ] = None,
) -> None:
    """Write the page of a run: every episode with its image, boxes, crops, messages and reward."""
    from deepeyes_env.agents.evaluation.rows import scored_trajectories
    from deepeyes_env.agents.evaluation.run import open_run
    from deepeyes_env.agents.run_folder import PLAN
    from deepeyes_env.trajectories import write_page
    from deepeyes_env.trajectories.files import folder_of

    folder = folder_of(run)
    judged = scored_trajectories(open_run(folder)) if (folder / PLAN).is_file() else None
    typer.echo(write_page(run, out, trajectories=judged))
