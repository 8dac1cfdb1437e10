"""``run``: a whole training run, from its settings to its checkpoints, metrics and plots."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from deepeyes_env.errors import UsageError
from deepeyes_env.extras import import_extra
from deepeyes_env.files import check_folder
from deepeyes_env.output_folder import OutputFolder, is_vacant
from deepeyes_env.registry import loaded_plugins, missing_plugins
from deepeyes_env.trainers.grpo.checkpoint import BEST, CHECKPOINT
from deepeyes_env.trainers.grpo.config import Config, differences, load_config
from deepeyes_env.trainers.grpo.kept_episodes import EPISODES
from deepeyes_env.trainers.grpo.stopping import defer_signals
from deepeyes_env.trainers.grpo.trainer import AFTER, BEFORE, Trainer, TrainingResult
from deepeyes_env.trainers.tracking import MetricsFile, Recorder, TensorBoard, WandB
from deepeyes_env.trainers.tracking.board import FILE as BOARD
from deepeyes_env.trainers.tracking.board import LoggingBoard
from deepeyes_env.trainers.tracking.curves import plot_curves
from deepeyes_env.trainers.tracking.live import Live
from deepeyes_env.trainers.tracking.tool_use_curves import plot_tool_use
from deepeyes_env.trajectories import read_trajectories, write_comparison
from deepeyes_env.trajectories.files import RECORDS

FIRST_CURVES, CURVES_EVERY = 10.0, 30.0
"""Seconds until the curves are drawn for the first time, and from one time to the next."""

SETTINGS, METRICS, CURVES, COMPARISON = "config.yaml", "metrics.jsonl", "curves.png", "comparison.html"
TOOL_USE = "tool_use.png"

TRAINING_RUN = OutputFolder(
    "training run",
    (
        SETTINGS,
        METRICS,
        CURVES,
        Path(CURVES).with_suffix(".pdf").name,
        TOOL_USE,
        Path(TOOL_USE).with_suffix(".pdf").name,
        COMPARISON,
        "wandb_id",
        *("wandb/run-*", "wandb/offline-run-*", "wandb/latest-run*", "wandb/debug*.log", "wandb/wandb-resume.json"),
        "tensorboard/events.out.tfevents.*",
        f"logging_board/{BOARD}",
        *CHECKPOINT.inside("checkpoints/step_*"),
        *CHECKPOINT.inside(f"checkpoints/{BEST}"),
        f"checkpoints/{BEST}/best.json",
        *CHECKPOINT.inside("checkpoints/.*.old"),
        "checkpoints/.*.old/best.json",
        *EPISODES.inside("failed_step_*", BEFORE, AFTER),
    ),
)

QUESTIONS = ("model", "data", "seed", "scenes.", "evaluation.samples", "evaluation.data", "evaluation.seed", "weights.")
"""Settings, or prefixes of their names, that may not change when a run is resumed."""


class CurvesFile:
    """Draws ``curves.png`` anew from time to time, in a thread of its own: it takes a third of a second."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._due = time.monotonic() + FIRST_CURVES
        self._pen = ThreadPoolExecutor(1, thread_name_prefix="curves")
        self._drawing: Future[None] | None = None

    def record(self, step: int, metrics: object) -> None:
        """Begin to draw the curves if it is time."""
        if time.monotonic() > self._due and (self._drawing is None or self._drawing.done()):
            self._drawing = self._pen.submit(self._draw)
            self._due = time.monotonic() + CURVES_EVERY

    def close(self) -> None:
        """Draw the curves as they are at the end."""
        self._pen.shutdown()
        self._draw()

    def _draw(self) -> None:
        plot_curves(self._folder / METRICS, self._folder / CURVES)
        plot_tool_use([self._folder / METRICS], self._folder / TOOL_USE)


def run(config: Config, *, resume: bool = False, overwrite: bool = False, live: bool = True) -> TrainingResult:
    """Train, and leave everything in ``config.out``: settings, metrics, curves, checkpoints, episodes.

    Args:
        config: The settings.
        resume: Resume from the last checkpoint.
        overwrite: Delete the run that the folder holds.
        live: Show the run in the terminal.

    Raises:
        FileExistsError: The folder holds a run, and it is neither to be resumed nor overwritten; or it holds what no
            run wrote, which is never deleted.
        FileNotFoundError: There is no run to be resumed.
        OSError: The folder cannot be written to.
        UsageError: Model or data cannot be used, a resumed run had another model or other questions, or plugins are
            missing.
        DataError: The data cannot be read.
    """
    folder = Path(config.out)
    if not is_vacant(folder) and not resume and not overwrite:
        raise FileExistsError(f"{folder} is not empty; give another out=, or --resume or --overwrite its run")
    check_folder(folder)
    if overwrite:
        TRAINING_RUN.check(folder)
    if resume:
        check_same(config, lambda name: name.startswith(QUESTIONS))
    check_plugins(config)
    if config.log.wandb:
        import_extra("wandb", "wandb")  # found missing before anything is made or deleted
    recorders: list[Recorder] = []
    trainer = Trainer(config, recorders, resume=resume)
    config = config.model_copy(update={"plugins": loaded_plugins()})
    try:
        if not resume:
            TRAINING_RUN.clear(folder)  # not before it is sure that the new run can begin
        TRAINING_RUN.claim(folder)
        config.save(folder / SETTINGS)
        step = trainer.progress.step
        recorders += [MetricsFile(folder / METRICS, step), TensorBoard(folder / "tensorboard", step)]
        recorders.append(CurvesFile(folder))
        if config.log.wandb:
            recorders.append(WandB(config.log.wandb, folder, config.model_dump(mode="json")))
        if config.log.rl_logging_board:
            trainer.board = LoggingBoard(folder / "logging_board", trainer.policy.tokenizer, step)
        if live:
            recorders.append(Live(config.steps, step))
        outcome = trainer.train()
        kept = {name: folder / name for name in (BEFORE, AFTER) if (folder / name / RECORDS).exists()}
        if not outcome.interrupted and len(kept) == 2:
            write_comparison({name: read_trajectories(path) for name, path in kept.items()}, folder / COMPARISON)
    finally:
        with defer_signals() as signals, ExitStack() as closing:  # which closes what was opened last first
            for recorder in recorders:
                closing.callback(recorder.close)
            if trainer.board is not None:
                closing.callback(trainer.board.close)
            closing.callback(trainer.close)
    if signals and not outcome.interrupted:
        raise KeyboardInterrupt
    return outcome


def check_plugins(config: Config) -> None:
    """Check that the plugins which settings name are loaded.

    Raises:
        UsageError: One is not; the message says how to load it.
    """
    if missing := missing_plugins(config.plugins):
        again = " ".join(f"--plugin {name}" for name in missing)
        raise UsageError(
            f"plugins={list(missing)}: not loaded, for settings in a folder may be a stranger's; give {again}, or "
            "plugins=[] to do without them"
        )


def check_same(config: Config, matters: Callable[[str], bool]) -> None:
    """Check that a run to be resumed had the same settings, as far as they matter.

    Args:
        config: The settings now; ``out`` is the run's folder.
        matters: Whether a setting may not change, by its full name.

    Raises:
        FileNotFoundError: The folder holds no run.
        UsageError: A setting that matters has changed.
    """
    path = Path(config.out) / SETTINGS
    if not path.exists() or not TRAINING_RUN.is_at(path.parent):
        raise FileNotFoundError(f"{config.out} holds no run to resume; leave out --resume to start one")
    changed = {name: pair for name, pair in differences(load_config((), path), config).items() if matters(name)}
    if changed:
        said = ", ".join(f"{name} was {before!r} and now is {now!r}" for name, (before, now) in changed.items())
        raise UsageError(f"{config.out}: {said}; resume with the settings as they were, or give another out=")
