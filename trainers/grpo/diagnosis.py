"""Diagnosis: what is wrong with a run that raises nothing, told in words."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

from deepeyes_env import labels
from deepeyes_env.data.dataset import VISUAL_SEARCH
from deepeyes_env.errors import DeepEyesError
from deepeyes_env.trainers.grpo.config import TINY, Config
from deepeyes_env.trainers.grpo.rollouts import PlayedEpisode
from deepeyes_env.trainers.tracking import names

logger = logging.getLogger(__name__)

MAX_FAILED_STEPS = 3
"""So many steps in a row in which every episode failed end the run."""

MAX_EQUAL_STEPS = 10
"""So many steps in a row without two different rewards in any group are told; under dynamic sampling they end it."""

MOSTLY = 0.9
"""The share of episodes from which on something is said about all of them."""

_ERRORS_TOLD = 3
_FORMAT_ERRORS = "stop/format_error"


class TrainingError(DeepEyesError, RuntimeError):
    """A run that cannot learn anything; the message says why."""


def told_errors(rollouts: Sequence[PlayedEpisode]) -> str:
    """Return the errors by which most episodes failed, with how often each did."""
    errors = Counter(each.error for each in rollouts if each.error)
    return "; ".join(f"{count} x {error}" for error, count in errors.most_common(_ERRORS_TOLD))


def check_playable(rollouts: Sequence[PlayedEpisode]) -> None:
    """Check that not all of the first episodes failed.

    Raises:
        TrainingError: They did; the message has the reasons.
    """
    if rollouts and all(each.error for each in rollouts):
        raise TrainingError(f"none of the {len(rollouts)} held-out questions could be played: {told_errors(rollouts)}")


def warn_of_first_episodes(metrics: Mapping[str, float], config: Config, episodes: str) -> None:
    """Warn where hardly any of the first episodes can be read, or the tiny policy is asked what it cannot know.

    Args:
        metrics: Of the first episodes, with the names of ``rollout_metrics``.
        config: The run.
        episodes: Folder in which they can be looked at; empty if they are in none.
    """
    wrong, cut = metrics.get(_FORMAT_ERRORS, 0.0), metrics.get("finish/length", 0.0)
    foreign = config.model == TINY and config.data != VISUAL_SEARCH
    if wrong < MOSTLY and not (foreign and metrics.get(names.ACCURACY, 1.0) <= 1 - MOSTLY):
        return
    if foreign:
        remedy = "the tiny policy knows the built-in task only: give model=FOLDER of a model that reads your questions"
    elif cut >= MOSTLY:
        limit = config.rollout.max_new_tokens
        remedy = f"{cut:.0%} of the messages were cut off: raise rollout.max_new_tokens={limit}"
    else:
        remedy = f"the policy does not write what {config.env.toolbox} reads, and chance will hardly teach it"
    look = f"; see deepeyes view {episodes}" if episodes else ""
    logger.warning("the first episodes are of no use (%s): %s%s", _means(metrics), remedy, look)


class UnlearnedSteps:
    """Follows the steps in a row from which nothing was learned, and says why.

    Args:
        dynamic_sampling: Whether groups of equal reward are replaced: then a run of such steps ends with an error.
        steps: How many steps the run has: a short one in which all fail ends with an error, too.
    """

    def __init__(self, dynamic_sampling: bool, steps: int = MAX_FAILED_STEPS) -> None:
        self._dynamic_sampling = dynamic_sampling
        self._most_failed = min(MAX_FAILED_STEPS, steps)
        self._failed = self._equal = 0

    def learned(self) -> None:
        """Note a step that was learned from."""
        self._failed = self._equal = 0

    def all_failed(self, step: int, rollouts: Sequence[PlayedEpisode]) -> None:
        """Note a step in which every episode failed.

        Raises:
            TrainingError: It is the last one that is put up with.
        """
        self._failed += 1
        logger.warning("step %d: every episode failed: %s", step, told_errors(rollouts))
        if self._failed >= self._most_failed:
            which = f"of step {step}" if self._failed == 1 else f"of the last {self._failed} steps, up to {step},"
            told = told_errors(rollouts)
            raise TrainingError(f"no episode {which} could be played: {told}; mend that, and go on with --resume")

    def all_equal(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note a step in which the rewards of each group were equal.

        Args:
            step: The step.
            metrics: Of its episodes.
        """
        self._failed = 0
        self._equal += 1
        if self._equal == 1:
            logger.warning("step %d: nothing to learn: the rewards of each group are equal (%s)", step, _means(metrics))
        elif self._equal % MAX_EQUAL_STEPS == 0 and not self._dynamic_sampling:
            logger.warning("step %d: %s", step, self._told(metrics))

    def check(self, metrics: Mapping[str, float]) -> None:
        """Check that it makes sense to go on.

        Raises:
            TrainingError: Dynamic sampling has found no two different rewards for many steps.
        """
        if self._dynamic_sampling and self._equal >= MAX_EQUAL_STEPS:
            raise TrainingError(f"{self._told(metrics)}. A checkpoint holds the last step")

    def _told(self, metrics: Mapping[str, float]) -> str:
        return (
            f"no group of the last {self._equal} steps had two different rewards ({_means(metrics)}): the questions "
            "are too hard or too easy for this policy, or the rubric pays every episode alike; give other data or "
            "another env.rubric, or raise rollout.temperature or rollout.group_size"
        )


def _means(metrics: Mapping[str, float]) -> str:
    known = {labels.REWARD: names.REWARD, labels.ACCURACY: names.ACCURACY, "share of format errors": _FORMAT_ERRORS}
    return ", ".join(f"{label} {metrics[name]:.2f}" for label, name in known.items() if name in metrics)
