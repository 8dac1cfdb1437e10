"""DeepEyesRewardManager: our rubrics as a reward manager, for those who keep verl's own tool loop.

``reward.reward_manager.name=deepeyes``; its settings are the agent loop's ``toolbox``, ``rubric``, ``judge``,
``judge_model`` and ``judge_url``, under ``reward.custom_reward_function.reward_kwargs``. Unlike the
reward function ``compute_score`` it takes messages apart by their tokens and asks any judge; a judge that is gone costs
the rollout and not the run.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from deepeyes_env.extras import needs_extra

with needs_extra("verl"):
    from verl.experimental.reward_loop.reward_manager import register
    from verl.experimental.reward_loop.reward_manager.base import RewardManagerBase

from deepeyes_env.agents.transformers.splitter import MessageSplitter
from deepeyes_env.core import Trajectory
from deepeyes_env.envs.toolbox import get_toolbox
from deepeyes_env.errors import DeepEyesError, UsageError
from deepeyes_env.rewards import get_rubric
from deepeyes_env.trainers.tracking import names
from deepeyes_env.trainers.verl.report import ACCURACY, FAILED, term_names
from deepeyes_env.trainers.verl.reward import sample_of, score, trajectory_of
from deepeyes_env.trainers.verl.settings import LoopSettings
from deepeyes_env.trainers.verl.worker import judge_of

SETTINGS = ("toolbox", "rubric", "judge", "judge_model", "judge_url")

logger = logging.getLogger(__name__)


@register("deepeyes")
class DeepEyesRewardManager(RewardManagerBase):
    """Scores the rollouts of verl's own tool loop.

    Args:
        config: verl's configuration.
        tokenizer: The policy's.
        compute_score: Not used: the rubric scores.
        **_kwargs: Of a reward model, which is not used.

    Raises:
        UnknownNameError: There is no such setting, toolbox, rubric or judge.
        UsageError: A setting is none of the reward's, or the chat template writes no generation prompt.
    """

    def __init__(self, config: Any, tokenizer: Any, compute_score: Any = None, **_kwargs: Any) -> None:
        super().__init__(config, tokenizer, compute_score)
        given = dict(config.reward.custom_reward_function.get("reward_kwargs") or {})
        settings = LoopSettings.of(given)
        if others := sorted(set(given) - set(SETTINGS)):
            raise UsageError(
                f"reward_kwargs: {others[0]} says how episodes are played; known are {', '.join(SETTINGS)}"
            )
        box = get_toolbox(settings.toolbox)
        self._protocol = box.protocol
        self._rubric = box.rubric if settings.rubric == "auto" else settings.rubric
        if self._rubric is not None:
            get_rubric(self._rubric)
        self._judge = judge_of(settings)
        self._splitter = MessageSplitter(tokenizer)
        terms = (f"{names.REWARD_TERM}{term}" for term in term_names(self._rubric, settings.toolbox))
        self._nothing = dict.fromkeys(("score", ACCURACY, *terms, names.TOOL_RATE, names.TOOL_CALLS, FAILED), 0.0)

    async def run_single(self, data: Any) -> dict[str, Any]:
        """Score one rollout.

        Args:
            data: Its row as a ``DataProto``; of several sequences the last.

        Returns:
            ``reward_score``, and ``reward_extra_info`` with the names of ``compute_score`` and ``failed``.
        """
        row = data[-1:][0]
        response = row.batch["responses"]
        length = int(row.batch["attention_mask"][-len(response) :].sum())
        ids = response[:length].tolist()
        try:
            found = await asyncio.to_thread(partial(self._score, ids, row.non_tensor_batch))
        except DeepEyesError as error:  # a judge that is gone, a broken sample: this rollout's affair
            logger.warning("a rollout could not be scored and gets reward 0: %s: %s", type(error).__name__, error)
            found = {FAILED: 1.0}
        report = {**self._nothing, **found}
        return {"reward_score": report["score"], "reward_extra_info": report}

    def _score(self, ids: list[int], row: Mapping[str, Any]) -> dict[str, float]:
        return score(self._played(ids, row), self._rubric, self._judge)

    def _played(self, ids: list[int], row: Mapping[str, Any]) -> Trajectory:
        extra = {**(row.get("extra_info") or {}), **(row.get("tool_extra_fields") or {})}
        answer = (row.get("reward_model") or {}).get("ground_truth", "")
        sample = sample_of(str(row.get("data_source", "")), str(answer), extra)
        messages = [self._splitter.text(message) for message in self._splitter.split(ids)]
        return trajectory_of(sample, messages, self._protocol, list(extra.get("tool_rewards") or ()))
