"""The paper's ablation of the tool bonus: several arms, each trained with several seeds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from deepeyes_env.errors import UsageError
from deepeyes_env.files import check_folder, replacing
from deepeyes_env.output_folder import OutputFolder, is_vacant
from deepeyes_env.trainers.grpo.checkpoint import Checkpoints
from deepeyes_env.trainers.grpo.config import Config, validated
from deepeyes_env.trainers.grpo.run import METRICS, SETTINGS, check_same, run
from deepeyes_env.trainers.grpo.trainer import AFTER
from deepeyes_env.trainers.tracking import read_metrics
from deepeyes_env.trainers.tracking.curves import plot_bands
from deepeyes_env.trainers.tracking.names import COMPARED, HELD_OUT


@dataclass(frozen=True, slots=True)
class Arm:
    """One arm of the ablation.

    Attributes:
        name: Its name.
        rubric: The reward formula.
        after: Name of the arm whose trained policies it starts from; empty for the policy of the settings.
    """

    name: str
    rubric: str
    after: str = ""


ARMS = (
    Arm("no bonus", "no_tool"),
    Arm("no bonus, per-call penalty", "no_tool_call_penalty"),
    Arm("unconditional bonus", "unconditional_tool"),
    Arm("conditional bonus", "deepeyes"),
    Arm("conditional bonus, per-call penalty", "deepeyes_call_penalty"),
    Arm("conditional bonus, then per-call penalty", "no_tool_call_penalty", after="conditional bonus"),
)
"""DeepEyes (arXiv 2505.14362) compares no bonus, an unconditional and a conditional one."""

TABLE, PLOT = "ablation.md", "ablation.png"

ABLATION = OutputFolder("comparison of rewards", (TABLE, PLOT, Path(PLOT).with_suffix(".pdf").name))

FREE = ("checkpoint.", "log.", "rollout.backend", "rollout.actors", "optim.threads", "plugins")
"""Settings, or prefixes of their names, that may change when a run is resumed."""


def ablate(config: Config, seeds: Sequence[int], arms: Iterable[Arm] = ARMS) -> Path:
    """Train every arm with every seed, and write ``ablation.png`` and ``ablation.md``.

    Runs that are already in the folder are resumed, or skipped if they are complete.

    Args:
        config: Settings of all runs; ``out`` is the folder of the comparison.
        seeds: Seeds of the runs; each has scenes of its own, to train on and held out.
        arms: What to compare; one that starts from another's policies comes after it.

    Returns:
        The table's path.

    Raises:
        FileExistsError: The folder is a file, or holds something and is not marked as that of an ablation.
        OSError: The folder cannot be written to.
        UsageError: There is nothing to compare by: no held-out questions; a rubric is given, which is what the arms
            differ in; or a run in the folder had other settings.
        KeyboardInterrupt: A run was interrupted; the same call resumes it.
    """
    if config.evaluation.samples == 0:
        raise UsageError("evaluation.samples=0: arms are compared by held-out questions; ask for some")
    if config.env.rubric != Config().env.rubric:
        raise UsageError(f"env.rubric={config.env.rubric!r}: every arm has a rubric of its own; leave it out")
    out = Path(config.out)
    check_folder(out)
    if not is_vacant(out):
        ABLATION.check_marked(out)
    ABLATION.claim(out)
    done: dict[str, list[Path]] = {}
    for arm in arms:
        for seed in seeds:
            folder = _folder(out, arm.name, seed)
            settings = _config(config, arm, seed, folder)
            resume = (folder / SETTINGS).exists()
            if resume:
                check_same(settings, lambda name: not name.startswith(FREE))
            complete = (folder / AFTER).exists() and (folder / "checkpoints" / f"step_{config.steps:06d}").exists()
            if not complete and run(settings, resume=resume).interrupted:
                raise KeyboardInterrupt
            done.setdefault(arm.name, []).append(folder / METRICS)
            plot_bands(done, out / PLOT)
    with replacing(out / TABLE) as beside:
        beside.write_text(table(done), encoding="utf-8")
    return out / TABLE


def table(arms: Mapping[str, Sequence[Path]]) -> str:
    """Return the last evaluations as a Markdown table: mean, and lowest and highest seed."""
    lines = ["| arm | " + " | ".join(COMPARED) + " |", "|---" * (len(COMPARED) + 1) + "|"]
    first = {f"{name} (before)": paths for name, paths in list(arms.items())[:1]}
    for place, group in ((0, first), (-1, arms)):
        for name, paths in group.items():
            cells = [
                cell([evaluations(path)[place].get(f"{HELD_OUT}{column}") for path in paths]) for column in COMPARED
            ]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def cell(values: Sequence[float | None]) -> str:
    """Return the mean of what is known, and the lowest and highest of it."""
    known = [value for value in values if value is not None]
    return f"{fmean(known):.2f} ({min(known):.2f} to {max(known):.2f})" if known else ""


def evaluations(path: Path) -> list[dict[str, float]]:
    """Return the rows of ``metrics.jsonl`` that are over held-out questions."""
    return [row for row in read_metrics(path) if any(name.startswith("eval/") for name in row)]


def _folder(out: Path, arm: str, seed: int) -> Path:
    return out / arm.replace(" ", "_").replace(",", "") / f"seed_{seed}"


def _config(config: Config, arm: Arm, seed: int, folder: Path) -> Config:
    settings = config.model_dump()
    settings |= {"seed": seed, "out": folder, "env": {**settings["env"], "rubric": arm.rubric}}
    settings["evaluation"] = {**settings["evaluation"], "seed": seed}
    if arm.after:
        source = _folder(Path(config.out), arm.after, seed)
        settings["model"] = str(Checkpoints(source / "checkpoints", 1).found()[-1])
    return validated(settings)
