"""The training loop: rollouts, policy updates, evaluation, metrics, checkpoints."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepeyes_env.agents.transformers.generator import Generator, Sampling
from deepeyes_env.agents.transformers.precision import cast_matrices, generation_copy, refresh
from deepeyes_env.core import Trajectory
from deepeyes_env.envs.vector import BACKENDS
from deepeyes_env.errors import RayLostError, UsageError
from deepeyes_env.trainers.algorithms import get_policy_loss, needs_baselines, needs_values
from deepeyes_env.trainers.grpo.adapters import TrainedPart
from deepeyes_env.trainers.grpo.batch import make_batch
from deepeyes_env.trainers.grpo.build import load_policy, make_credit, make_env
from deepeyes_env.trainers.grpo.checkpoint import Checkpoints, Progress, reading
from deepeyes_env.trainers.grpo.config import Config
from deepeyes_env.trainers.grpo.diagnosis import (
    TrainingError,
    UnlearnedSteps,
    check_playable,
    warn_of_first_episodes,
)
from deepeyes_env.trainers.grpo.held_out import BestAccuracy
from deepeyes_env.trainers.grpo.kept_episodes import EPISODES, write_trajectories
from deepeyes_env.trainers.grpo.learner import Learner, NonFiniteError
from deepeyes_env.trainers.grpo.metrics import memory_metrics, rollout_metrics
from deepeyes_env.trainers.grpo.questions import Questions
from deepeyes_env.trainers.grpo.rollouts import PlayedEpisode, Rollouts, Timers
from deepeyes_env.trainers.grpo.stopping import GracefulStop
from deepeyes_env.trainers.tracking import Recorder, names
from deepeyes_env.trainers.tracking.board import LoggingBoard
from deepeyes_env.trajectories.files import RECORDS

logger = logging.getLogger(__name__)

SHOWN = 10
"""Held-out questions whose episodes are kept from before and after training."""

BEFORE, AFTER = "before", "after"


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """The result of a training run.

    Attributes:
        steps: Steps done.
        before: Metrics on the held-out questions before training.
        after: The same afterwards.
        interrupted: It was stopped before its last step.
    """

    steps: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    interrupted: bool = False


class Trainer:
    """A training run.

    Attributes:
        config: Its settings.
        out: Its folder.
        progress: How far it has come.
        policy: What is trained.
        learner: What trains it.
        env: What it is trained in: as many environments as a step has episodes.
        board: Is given every episode, if it is set.

    Args:
        config: Its settings.
        recorders: Are told the metrics of each step.
        resume: Resume from the last checkpoint in ``config.out``, if there is one.

    Raises:
        UsageError: The model cannot be used, a name is unknown, or settings do not go together.
        DataError: The data cannot be read.
        CheckpointError: The last checkpoint cannot be read.
    """

    def __init__(self, config: Config, recorders: Sequence[Recorder] = (), *, resume: bool = False) -> None:
        self.config = config
        self.out = Path(config.out)
        self._recorders = recorders
        self._checkpoints = Checkpoints(self.out / "checkpoints", config.checkpoint.keep)
        self._saved: int | None = None
        self.progress = Progress()
        found = self._checkpoints.found() if resume else []
        get_policy_loss(config.algorithm.loss)  # a wrong name is found before anything is made
        BACKENDS.get(config.rollout.backend)
        self._greedy_first = needs_baselines(config.algorithm.advantage)
        if self._greedy_first and config.rollout.group_size == 1:
            raise UsageError(
                f"algorithm.advantage={config.algorithm.advantage!r} wants a greedy episode beside others: raise "
                "rollout.group_size above 1"
            )
        self._questions = Questions(config)
        adapted = config.weights.lora_rank > 0  # adapters go on from the model that they were made for
        self.policy = load_policy(config, found[-1] if found and not adapted else None)
        self._part = TrainedPart(self.policy, config.weights, config.seed)
        reference = load_policy(config) if config.algorithm.kl != "off" else None
        if reference is not None:
            cast_matrices(reference)
        longest = config.env.max_turns * config.rollout.max_new_tokens
        updates = config.steps * config.optim.epochs * config.optim.minibatches
        self.learner = Learner(
            self.policy, config.algorithm, config.optim, config.rollout.temperature, reference, longest, updates
        )
        self._best = BestAccuracy()
        if found:
            self.progress, state = self._checkpoints.load(found[-1], self.policy.device)
            with reading(found[-1]):
                self._part.restore(state)
                self.learner.restore(state)
                self._best.restore(state.get("best", self._best.state()))
            self._saved = self.progress.step
        self._generating = self.policy if adapted else generation_copy(self.policy)
        self.env = make_env(config, self._questions)
        sampling = Sampling(config.rollout.temperature, config.rollout.max_new_tokens)
        self._rollouts = self._playing(sampling)
        self._unlearned = UnlearnedSteps(bool(config.rollout.dynamic_sampling), config.steps)
        self._learning = False
        self._recording = 0.0
        self.board: LoggingBoard | None = None
        self._played_metrics: dict[str, float] = {}
        self._credit_metrics: dict[str, float] = {}

    def close(self) -> None:
        """End the environments, and Ray if this run started it."""
        self.env.close()

    def train(self) -> TrainingResult:
        """Run to the last step, or until interrupted; then a checkpoint holds where it stopped.

        A run that was interrupted after its last step, in the evaluation that follows, is evaluated when it goes on.

        Raises:
            NonFiniteError: A loss was not a finite number; the batch is in ``failed_step_N``.
            CheckpointError: A checkpoint could not be written; earlier ones are untouched.
            RayLostError: Ray's own process on this machine has ended; a checkpoint holds where that was.
            TrainingError: No episode of several steps in a row could be played, or no held-out one before the first; or
                dynamic sampling found nothing to learn from.
        """
        before: Mapping[str, float] = {}
        after: Mapping[str, float] = {}
        interrupted = False
        with GracefulStop() as stop:
            try:
                if self.progress.step == 0:
                    with stop.interruptible():
                        before = self.evaluate(BEFORE)
                    self._record(0, before)
                    self._note_accuracy(0, before)
                    told = {key.removeprefix(names.HELD_OUT): value for key, value in before.items()}
                    warn_of_first_episodes(told, self.config, str(self.out / BEFORE))
                if self._goes_on:
                    EPISODES.delete(self.out / AFTER)
                while self._goes_on:
                    after = self._step(stop) or after
                if not (self.out / AFTER / RECORDS).exists():
                    with stop.interruptible():
                        after = self.evaluate(AFTER)
                    self._record(self.progress.step, after)
            except KeyboardInterrupt:
                if self._learning:
                    raise
                interrupted = True
            except RayLostError:
                self._save()
                raise
            self._save()
        return TrainingResult(self.progress.step, before, after, interrupted)

    def evaluate(self, name: str | None = None) -> dict[str, float]:
        """Play the held-out questions, and return the metrics of it.

        Args:
            name: Folder in that of the run, in which the first episodes are kept.
        """
        began = time.perf_counter()
        specs = self._questions.held_out_specs()
        playing = self._playing(Sampling(self.config.evaluation.temperature, self.config.rollout.max_new_tokens))
        played: list[PlayedEpisode] = []
        for first in range(0, len(specs), self.env.num_envs):
            playing.begin(specs[first : first + self.env.num_envs])
            played += playing.play()
        finished = finished_of(played)
        if name == BEFORE:
            check_playable(played)
        if name:
            write_trajectories(self.out / name, finished[:SHOWN])
        metrics = {f"{names.HELD_OUT}{key}": value for key, value in rollout_metrics(finished).items()}
        counts = {names.FINISHED: len(finished), names.FAILED: len(played) - len(finished)} if played else {}
        return {
            **metrics,
            **{name: float(count) for name, count in counts.items()},
            "time/evaluate": time.perf_counter() - began,
        }

    @property
    def _goes_on(self) -> bool:
        """Whether there is a step to take: neither was that the last, nor is it time for the early stop."""
        patience = self.config.evaluation.patience
        return self.progress.step < self.config.steps and not (patience and self._best.since >= patience)

    def _note_accuracy(self, step: int, evaluated: Mapping[str, float]) -> None:
        """Keep the policy if no other did better on the held-out questions, and say when it is time to stop."""
        accuracy = evaluated.get(f"{names.HELD_OUT}{names.ACCURACY}")
        if accuracy is None:
            return
        if self._best.update(step, accuracy) and self.config.checkpoint.best:
            self._checkpoints.save_best(self._part, step, accuracy)
        if step < self.config.steps and self._best.since == self.config.evaluation.patience > 0:
            logger.warning(
                "early stop after step %d: %d evaluations without a better held-out accuracy than %.3f after step %d",
                step, self._best.since, self._best.accuracy, self._best.step,
            )  # fmt: skip

    def _playing(self, sampling: Sampling) -> Rollouts:
        """Return what plays episodes with the policy as it is."""
        rollout = self.config.rollout
        most = min(self.policy.context, rollout.max_episode_tokens or self.policy.context)
        return Rollouts(self.env, Generator(self._generating, sampling), rollout.max_wait, most)

    # --- one step ------------------------------------------------------------------------------------------------

    def _step(self, stop: GracefulStop) -> Mapping[str, float]:
        """Take one step; returns the metrics of an evaluation if one was due."""
        began = time.perf_counter()
        step = self.progress.step + 1
        with stop.interruptible():
            rollouts, position = self._played()
        last = step == self.config.steps
        evaluating = last or bool(self.config.evaluation.every and step % self.config.evaluation.every == 0)
        if not evaluating:
            self._begin(position)
        metrics = self._learned(step, rollouts)
        self.progress = Progress(step, position)
        metrics |= self._times(began) | memory_metrics()
        evaluated: Mapping[str, float] = {}
        try:
            with stop.interruptible():
                if evaluating:
                    evaluated = self.evaluate(AFTER if last else None)
        finally:
            self._record(step, {**metrics, **evaluated})
        self._note_accuracy(step, evaluated)
        self._check_learning(step, metrics)
        if last or (self.config.checkpoint.every and step % self.config.checkpoint.every == 0):
            self._save()
        return evaluated

    def _begin(self, position: int) -> None:
        """Let the environments draw the next questions while the policy learns."""
        if not self._rollouts.begun:
            rollout = self.config.rollout
            greedy = self._greedy_first
            specs = self._questions.specs(position, rollout.prompts, rollout.group_size, greedy_first=greedy)
            self._rollouts.begin(specs)

    def _played(self) -> tuple[list[PlayedEpisode], int]:
        """Play the questions of a step; returns the episodes to learn from, and the position after them."""
        position, rollout = self.progress.position, self.config.rollout
        chosen: list[PlayedEpisode] = []
        played: list[PlayedEpisode] = []
        for _ in range(1 + rollout.dynamic_sampling):
            self._begin(position)
            now = self._credited(self._rollouts.play())
            position += rollout.prompts
            played += now
            chosen += _informative_groups(now) if rollout.dynamic_sampling else now
            if len({each.spec.group for each in chosen}) >= rollout.prompts:
                break
        self._played_metrics = _played_metrics(played) | self._credit_metrics
        wanted = sorted({each.spec.group for each in chosen})[: rollout.prompts]
        return [each for each in chosen if each.spec.group in wanted], position

    def _credited(self, played: list[PlayedEpisode]) -> list[PlayedEpisode]:
        if not self.config.credit.share:
            return played
        played, self._credit_metrics = make_credit(self.config, self.env, self._generating).of(played)
        return played

    def _learned(self, step: int, rollouts: Sequence[PlayedEpisode]) -> dict[str, float]:
        """Learn from the episodes that have a reward."""
        metrics = dict(self._played_metrics)
        began = time.perf_counter()
        ungrouped = self.config.rollout.group_size == 1 or needs_values(self.config.algorithm.advantage)
        batch = make_batch(self.policy, rollouts, greedy_first=self._greedy_first, ungrouped=ungrouped)
        metrics["time/pack"] = time.perf_counter() - began
        if len(batch) == 0:
            if metrics["episodes/failed"] == metrics["episodes/played"]:
                self._unlearned.all_failed(step, rollouts)
            else:
                self._unlearned.all_equal(step, metrics)
            return metrics
        if self.board is not None:
            self.board.write(step, finished_of(rollouts))
        began = time.perf_counter()
        self._learning = True
        try:
            if not all(np.isfinite(tokens.logprobs).all() for tokens in batch.sequences):
                raise NonFiniteError("the policy drew tokens with probabilities that are not numbers")
            metrics |= self.learner.learn(batch, np.random.default_rng((self.config.seed, step)))
            refresh(self._generating, self.policy)
        except NonFiniteError as error:
            folder = self.out / f"failed_step_{step:06d}"
            write_trajectories(folder, [each.trajectory for each in rollouts if each.trajectory is not None])
            raise NonFiniteError(f"step {step}: {error}; its episodes are in {folder}, see deepeyes view") from error
        self._learning = False
        metrics["time/learn"] = time.perf_counter() - began
        if metrics["learn/advantage_size"] > 0:
            self._unlearned.learned()
        else:
            self._unlearned.all_equal(step, metrics)
        return metrics

    def _check_learning(self, step: int, metrics: Mapping[str, float]) -> None:
        """Say what is wrong with the first episodes, and end a run that does not learn; a checkpoint is kept."""
        if step == 1 and not self.config.evaluation.samples:
            warn_of_first_episodes(metrics, self.config, "")
        try:
            self._unlearned.check(metrics)
        except TrainingError:
            self._save()
            raise

    def _times(self, began: float) -> dict[str, float]:
        timers, self._rollouts.timers = self._rollouts.timers, Timers()
        recording, self._recording = self._recording, 0.0
        return {
            "time/step": time.perf_counter() - began + recording,
            "time/generate": timers.generate,
            "time/wait": timers.wait,
            "time/record": recording,  # of the step before, which was not over yet when its metrics were written
        }

    def _record(self, step: int, metrics: Mapping[str, float]) -> None:
        began = time.perf_counter()
        for recorder in self._recorders:
            recorder.record(step, metrics)
        self._recording += time.perf_counter() - began

    def _save(self) -> None:
        if self._saved != self.progress.step:
            states = {**self.learner.state(), **self._part.state(), "best": self._best.state()}
            self._checkpoints.save(self.progress, self._part, states)
            self._saved = self.progress.step


def finished_of(rollouts: Sequence[PlayedEpisode]) -> list[Trajectory]:
    """Return the trajectories that have a reward."""
    return [each.finished for each in rollouts if each.finished is not None]


def _rewards(rollouts: Sequence[PlayedEpisode]) -> dict[int, set[float]]:
    """Return the different rewards in each group that has any, in the ``float32`` of a batch."""
    rewards: dict[int, set[float]] = {}
    for each in rollouts:
        if each.finished is not None:
            rewards.setdefault(each.spec.group, set()).add(float(np.float32(each.finished.reward)))
    return rewards


def _informative_groups(rollouts: Sequence[PlayedEpisode]) -> list[PlayedEpisode]:
    """Leave out groups of equal reward, whose advantages are all zero."""
    rewards = _rewards(rollouts)
    return [each for each in rollouts if len(rewards.get(each.spec.group, ())) > 1]


def _played_metrics(rollouts: Sequence[PlayedEpisode]) -> dict[str, float]:
    rewards = _rewards(rollouts)
    equal = sum(len(different) == 1 for different in rewards.values())
    return {
        **rollout_metrics(finished_of(rollouts)),
        "episodes/played": len(rollouts),
        "episodes/failed": sum(bool(each.error) for each in rollouts),
        "groups/equal": equal / max(1, len(rewards)),
    }
