"""``deepeyes curate``: which questions of a data set are worth training on."""

from __future__ import annotations

import typer

from deepeyes_env.agents.cli.curate_options import CurateOptions
from deepeyes_env.cli.options import takes
from deepeyes_env.errors import UsageError
from deepeyes_env.terminal import say


@takes(CurateOptions)
def curate(ctx: typer.Context, options: CurateOptions) -> None:
    """Label the questions of a data set by what a model makes of them; keep those for which a condition holds."""
    from deepeyes_env.agents import curation

    keep = options.condition()
    settings = None if options.data is None else {"open": options.open, "seed": options.seed}
    begun = curation.begin_curation(options.out, options.data, settings)
    if "format" in options.chosen_stages():
        curation.label_format(begun.dataset, begun.folder, limit=options.limit)
    if keep is None:
        return
    if options.write is None:
        raise UsageError("--keep and --preset write a data set: give --write FILE")
    kept = curation.write_kept(begun, keep, options.write)
    for part, alone, left in kept.filters:
        say(f"{part}: {alone} of {kept.of} alone, {left} with those before it")
    say(f"{options.write}: {len(kept.rows)} of {kept.of} questions")
