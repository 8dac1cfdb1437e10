"""``deepeyes curate``: which questions of a data set are worth training on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer
from rich.table import Table

from deepeyes_env.agents.cli.curate_options import CurateOptions
from deepeyes_env.cli.options import takes
from deepeyes_env.cli.views import view_budget
from deepeyes_env.terminal import console, say

if TYPE_CHECKING:
    from deepeyes_env.agents.curation import Asking, Curation, Keep

KEPT_BYTES = 2**28
"""How many bytes of pixels and of encoded images are kept: those of a question are asked for one after another."""


@takes(CurateOptions)
def curate(ctx: typer.Context, options: CurateOptions) -> None:
    """Label the questions of a data set by what a model makes of them; keep those for which a condition holds."""
    from deepeyes_env.agents import curation
    from deepeyes_env.images.store import shared_store

    keep, stages = options.condition(), options.chosen_stages()
    only = curation.parse_keep(options.only) if options.only else None
    settings = None if options.data is None else {"open": options.open}
    begun = curation.begin_curation(options.out, options.data, settings)
    try:
        with shared_store().limited(KEPT_BYTES):
            _do(begun, stages, keep, only, options)
    except KeyboardInterrupt:
        say(f"stopped; the same command goes on with what {options.out} lacks", err=True)
        raise typer.Exit(130) from None


def _do(begun: Curation, stages: tuple[str, ...], keep: Keep | None, only: Keep | None, options: CurateOptions) -> None:
    from deepeyes_env.agents import curation

    if options.decisions is not None:
        count = curation.take_decisions(begun.folder, options.decisions, len(begun.dataset))
        say(f"{count} decisions of a person; the stage label reads them")
    if stages:
        _run(begun, stages, options, only)
        _show(curation.write_report(begun), begun)
    if keep is not None:
        _write(begun, keep, options)


def _run(begun: Curation, stages: tuple[str, ...], options: CurateOptions, only: Keep | None) -> None:
    from deepeyes_env.agents import curation

    # All others need it: which rows can be read, and how they are asked.
    curation.label_format(begun.dataset, begun.folder, limit=options.limit)
    asking = _asking(begun, options) if options.asks and set(stages) - {"format"} else None
    for stage in stages:
        if stage == "label":
            second = _asking(begun, options, second=True) if options.second_model else asking
            curation.label_answers(begun, second, limit=options.limit)
        elif stage != "format" and asking is not None:
            curation.label_by_model(begun, stage, asking, only=only, limit=options.limit)


def _asking(begun: Curation, options: CurateOptions, *, second: bool = False) -> Asking:
    from deepeyes_env.agents.cli.eval_policy import frame_for, make_policy, view_for
    from deepeyes_env.agents.curation import Asking
    from deepeyes_env.agents.curation.curation import ANSWERS, SECOND

    policy = options.policy(second=second)
    kwargs: dict[str, Any] = {"max_turns": options.max_turns}
    if options.max_pixels is not None:
        kwargs["view"] = view_budget(options.max_pixels)
    if policy.model:
        needed = not second and "gain" in options.chosen_stages()
        kwargs["frame"] = frame_for(policy.model, options.frame, needed=needed)
        kwargs |= view_for(policy.model, begun.dataset, kwargs.get("view"))
    return Asking(
        make_policy(policy, kwargs.get("frame"), url_bytes=KEPT_BYTES),
        _scoring(begun, options),
        folder=SECOND if second else ANSWERS,
        k=options.k,
        seed=options.seed,
        env=options.env,
        num_envs=options.concurrency,
        episodes=options.episodes,
        settings={} if policy.agent else {"temperature": policy.temperature, "max_tokens": policy.max_tokens},
        env_kwargs=kwargs,
        tell_cost=lambda cost: say(str(cost)) if cost.episodes else None,
    )


def _scoring(begun: Curation, options: CurateOptions) -> Any:
    from deepeyes_env.agents.evaluation import Scoring
    from deepeyes_env.judges.presets import judge_settings, make_judge

    told = {"model": options.judge_model, "base_url": options.judge_url}
    settings: dict[str, Any] = {name: value for name, value in told.items() if value}
    asks = "model" in judge_settings(options.judge)
    if asks:
        settings["cache"] = begun.folder.parent / "judgements.sqlite3"
    name = f"{options.judge} ({options.judge_model})" if options.judge_model else options.judge
    return Scoring(make_judge(options.judge, **settings), name, workers=32 if asks else 8)


def _show(report: Any, begun: Curation) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold", title=f"{begun.folder}")
    for head in ("label", "questions", "mean"):
        table.add_column(head, justify="left" if head == "label" else "right")
    for name, each in report["labels"].items():
        table.add_row(name, str(each["questions"]), f"{each['mean']:.3f}")
    console().print(table)
    for stage, each in report["stages"].items():
        for why, count in each["reasons"].items():
            say(f"{stage}: {count} without a label: {why}", err=True)
    for name, each in report["presets"].items():
        if "kept" in each:
            say(f"--preset {name} keeps {each['kept']} of {each['of']}")
    if report["disagreements"]:
        say(f"{report['disagreements']} answers have something against them: {begun.folder}/disagreements.html")
    say(f"{begun.folder}/report.md")


def _write(begun: Curation, keep: Keep, options: CurateOptions) -> None:
    from deepeyes_env.agents.curation import write_kept

    assert options.write is not None  # checked with the condition
    kept = write_kept(begun, keep, options.write)
    for part, alone, left in kept.filters:
        say(f"{part}: {alone} of {kept.of} alone, {left} with those before it")
    say(f"{options.write}: {len(kept.rows)} of {kept.of} questions")
