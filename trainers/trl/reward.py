"""EpisodeReward: the rubric's reward of TRL's rollouts, with every term and every failure as a metric."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from deepeyes_env.agents.transformers.splitter import MessageSplitter
from deepeyes_env.core import PolicyTokens, Trajectory
from deepeyes_env.envs.toolbox import Toolbox, get_toolbox, toolbox_of
from deepeyes_env.errors import JudgeError
from deepeyes_env.judges import Judge, RuleJudge
from deepeyes_env.rewards import BaseRubric, RoutedRubric, Rubric, RubricLike, get_rubric
from deepeyes_env.trainers.grpo.metrics import rollout_metrics
from deepeyes_env.trainers.tracking import names
from deepeyes_env.trainers.trl.environment import ToolboxEnvironment

FAILED = "episodes/failed"
"""Metric: share of rollouts whose environment or judge failed; they have no reward, and no part in the advantages."""

METRICS = (
    names.ACCURACY,
    names.TOOL_RATE,
    names.TOOL_CALLS,
    "tool/failed",
    names.ZOOM_RATE,
    "response/turns",
    *(f"stop/{reason}" for reason in names.STOP_REASONS),
)
"""What is logged of each batch, 0 where nothing is known: processes have to log the same names."""

logger = logging.getLogger(__name__)


class EpisodeReward:
    """A reward function for ``GRPOTrainer``: the rubric's total.

    With an ``environment_factory`` it finishes the episodes: each message is put in its place as it was written, with
    its tokens. With ``EpisodeRollouts`` they are finished already.

    Attributes:
        episodes: The rollouts of the last batch, scored, in order; ``None`` for one that failed.
        failures: How many rollouts failed so far.

    Args:
        processor: The processing class of the trainer.
        toolbox: The environment that is played.
        rubric: A preset's name, a rubric, or ``"auto"`` for the toolbox's own.
        judge: Decides whether an answer is right; by default rules that need nothing.

    Raises:
        UnknownNameError: No rubric or toolbox has that name.
    """

    __name__ = "deepeyes"

    def __init__(
        self,
        processor: Any,
        toolbox: str | Toolbox = "VisualToolbox-v2",
        *,
        rubric: RubricLike = "auto",
        judge: Judge | None = None,
    ) -> None:
        self._own = get_toolbox(toolbox).rubric if rubric == "auto" else rubric
        self._terms = [] if self._own is None else _term_names(get_rubric(self._own))
        self.episodes: list[Trajectory | None] = []
        self.failures = 0
        self._rubric, self._judge = rubric, judge
        self._splitter = MessageSplitter(getattr(processor, "tokenizer", processor))

    def __call__(
        self,
        completion_ids: Sequence[Sequence[int]],
        environments: Sequence[ToolboxEnvironment] | None = None,
        episode: Sequence[Trajectory | None] = (),
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """Return the reward of each rollout; ``None``, which TRL leaves out of the advantages, for one that failed."""
        if environments is not None:
            played = [self._finish(env, ids) for env, ids in zip(environments, completion_ids, strict=True)]
        else:
            played = list(episode)
        self.episodes = [None if each is None else self._scored(each) for each in played]
        finished = [each for each in self.episodes if each is not None]
        failed = len(self.episodes) - len(finished)
        self.failures += failed
        if log_metric is not None:
            log_metric(FAILED, failed / max(1, len(self.episodes)))
            for name, value in self._metrics(finished).items():
                log_metric(name, value)
        return [None if each is None else each.reward for each in self.episodes]

    def _finish(self, env: ToolboxEnvironment, ids: Sequence[int]) -> Trajectory | None:
        messages = self._splitter.split(ids)
        episode = env._finished(self._splitter.text(messages[-1]))
        return None if episode is None else self._as_written(episode, messages)

    def _as_written(self, episode: Trajectory, messages: Sequence[Sequence[int]]) -> Trajectory:
        """Put what the policy wrote in the place of the calls that were made of it.

        Of a message with several calls TRL runs each; our episodes have one turn for each then, and keep the calls.
        """
        if len(messages) != len(episode.turns):
            return episode
        turns = [
            replace(
                turn,
                action=self._splitter.text(ids),
                tokens=PolicyTokens(tuple(ids), (), (1,) * len(ids)),
                finish_reason="stop" if self._splitter.is_ended(ids) else "length",
            )
            for turn, ids in zip(episode.turns, messages, strict=True)
        ]
        return replace(episode, turns=tuple(turns))

    def _scored(self, episode: Trajectory) -> Trajectory | None:
        by_toolbox = self._rubric == "auto" and episode.toolbox  # an ordinary question has the environment's own
        chosen = toolbox_of(episode).rubric if by_toolbox else self._own
        if chosen is None:
            return episode
        try:
            return get_rubric(chosen, judge=self._judge).score(episode, self._judge or RuleJudge())
        except JudgeError as error:
            logger.warning("the rollout of sample %s could not be judged: %s", episode.sample.id, error)
            return None

    def _metrics(self, finished: Sequence[Trajectory]) -> dict[str, float]:
        """Return metrics of some episodes, by names that do not depend on them."""
        known = rollout_metrics(finished)
        return {name: known.get(name, 0.0) for name in (*METRICS, *self._terms)}


def _term_names(rubric: BaseRubric) -> list[str]:
    """Return the metrics of a rubric's terms."""
    if isinstance(rubric, RoutedRubric):
        parts = [rubric.default, *rubric.routes.values()]
        return sorted({name for part in parts for name in _term_names(part)})
    return [f"{names.REWARD_TERM}{term.name}" for term in rubric.terms] if isinstance(rubric, Rubric) else []
