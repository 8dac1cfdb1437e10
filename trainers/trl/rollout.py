"""EpisodeRollouts: our own loop as TRL's ``rollout_func``, and the trainer that shows the learner its images."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gymnasium.vector import AutoresetMode
from trl import GRPOTrainer

from deepeyes_env.agents.transformers.generator import Generator, Sampling
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import Trajectory
from deepeyes_env.data import load
from deepeyes_env.envs.toolbox import Toolbox
from deepeyes_env.envs.vector import ThreadVectorEnv
from deepeyes_env.errors import UsageError
from deepeyes_env.images.pil import to_pil
from deepeyes_env.seeds import MAX_SEED
from deepeyes_env.trainers.grpo.rollouts import EpisodeSpec, PlayedEpisode, Rollouts
from deepeyes_env.trainers.trl.rows import question_of

IMAGES = "images"
"""Key of a rollout function's output: the images of each rollout in the order of their tokens."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Row:
    """A rollout as TRL wants it: ids of prompt and completion, log-probabilities, mask of the policy's tokens."""

    prompt: list[int]
    completion: list[int]
    logprobs: list[float]
    mask: list[int]
    images: list[Any]
    episode: Trajectory | None


class EpisodeRollouts:
    """A ``rollout_func`` for ``VisionRolloutTrainer``: episodes by our own loop, with the model in this process.

    Messages are generated in one batch with a KV cache kept over the turns; a prompt is prefilled once for all its
    rollouts, its image decoded once. What an environment answers is never trained on (``env_mask``). An environment
    that fails costs its rollout, not the run: nothing of it is trained on, and ``EpisodeReward`` counts it.

    Args:
        dataset: Whatever ``deepeyes_env.data.load`` makes a data set of: the one that ``make_rows`` was given.
        toolbox: The environment.
        max_new_tokens: Most tokens of a message; by default the trainer's ``max_completion_length``.
        max_tokens: Most tokens of an episode, prompt and images included; by default, and at most, the model's context.
        max_wait: Seconds that a batch waits for slow environments before it goes on without them.
        seed: Seed of what is sampled, with the number of the step and the place in the batch.
        **kwargs: Further keyword arguments of ``VisualToolboxEnv``, such as ``max_turns`` and ``view``.

    Raises:
        UsageError: A rubric or a judge is given: ``EpisodeReward`` takes them.
    """

    def __init__(
        self,
        dataset: Any = "visual_search",
        toolbox: str | Toolbox = "VisualToolbox-v2",
        *,
        max_new_tokens: int | None = None,
        max_tokens: int | None = None,
        max_wait: float = 1.0,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        if refused := sorted({"rubric", "judge"} & set(kwargs)):
            raise UsageError(f"{refused[0]}: EpisodeReward scores the rollouts; give it to EpisodeReward")
        self._kwargs = {**kwargs, "dataset": load(dataset), "toolbox": toolbox, "rubric": None}
        self._max_new_tokens, self._max_tokens, self._max_wait = max_new_tokens, max_tokens, max_wait
        self._seed, self._calls = seed, 0
        self._env: ThreadVectorEnv | None = None

    def __call__(self, prompts: Sequence[Sequence[dict[str, Any]]], trainer: Any) -> dict[str, Any]:
        """Play an episode of each prompt with the trainer's model.

        Raises:
            UsageError: The trainer cannot show the learner the images; or a prompt was not made by ``make_rows``.
        """
        if not isinstance(trainer, VisionRolloutTrainer):
            raise UsageError(
                "GRPOTrainer does not show its learner the images of a rollout_func; use "
                "deepeyes_env.trainers.trl.VisionRolloutTrainer in its place"
            )
        policy, training = _policy_of(trainer), trainer.model.training
        trainer.model.eval()  # no dropout while sampling
        try:
            played = self._play(self._specs(prompts, trainer), policy, trainer)
        finally:
            trainer.model.train(training)
        rows = [_row(policy, each) for each in played]
        return {
            "prompt_ids": [row.prompt for row in rows],
            "completion_ids": [row.completion for row in rows],
            "logprobs": [row.logprobs for row in rows],
            "env_mask": [row.mask for row in rows],
            IMAGES: [row.images for row in rows],
            "episode": [row.episode for row in rows],
        }

    def close(self) -> None:
        """Close the environments."""
        if self._env is not None:
            self._env.close()
            self._env = None

    def _specs(self, prompts: Sequence[Sequence[dict[str, Any]]], trainer: Any) -> list[EpisodeSpec]:
        call, self._calls = self._calls, self._calls + 1
        process = trainer.accelerator.process_index
        questions = [question_of(prompt) for prompt in prompts]
        groups = {question: number for number, question in enumerate(dict.fromkeys(questions))}
        return [
            EpisodeSpec(seed % MAX_SEED, index, (self._seed, process, call, place), groups[index, seed])
            for place, (index, seed) in enumerate(questions)
        ]

    def _play(self, specs: Sequence[EpisodeSpec], policy: VisionPolicy, trainer: Any) -> list[PlayedEpisode]:
        sampling = Sampling(trainer.temperature, self._max_new_tokens or trainer.max_completion_length)
        most = min(self._max_tokens or policy.context, policy.context)
        if self._env is None or self._env.num_envs < len(specs):
            self.close()
            self._env = ThreadVectorEnv(len(specs), autoreset_mode=AutoresetMode.DISABLED, **self._kwargs)
        rollouts = Rollouts(self._env, Generator(policy, sampling), self._max_wait, most)
        rollouts.begin(specs)
        return rollouts.play()


class VisionRolloutTrainer(GRPOTrainer):  # type: ignore[misc]  # TRL is not installed where types are checked
    """``GRPOTrainer`` that takes the images of a ``rollout_func``'s completions too.

    TRL (1.12 to 1.16 at least) hands its learner the images that its own tool loop met, and none of a ``rollout_func``.
    Here they go the way of those: output ``images`` of the rollout function holds them, prompt's and tools' together.
    """

    def _generate(self, prompts: list[Any]) -> Any:
        self.tools: list[Any] = []  # the rollout function has run them
        *made, extra, images, tool_images = super()._generate(prompts)
        shown = extra.pop(IMAGES, None)
        if shown is not None:
            self.tools = [VisionRolloutTrainer]  # with tools, TRL looks for image tokens in completions too
            images = tool_images = shown
        return (*made, extra, images, tool_images)


def _policy_of(trainer: Any) -> VisionPolicy:
    """Return the trainer's model as one that our generator runs; adapters of peft stay in its layers."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    return VisionPolicy(base, getattr(trainer.processing_class, "tokenizer", trainer.processing_class), base.dtype)


def _row(policy: VisionPolicy, played: PlayedEpisode) -> _Row:
    episode = played.finished
    if episode is None or not episode.turns:
        end = policy.chat.end_of_turn
        return _Row([end], [end], [0.0], [0], [], None)
    whole: TokenSequence = policy.chat.sequence(episode)
    start = len(policy.chat.prompt(episode))
    return _Row(
        whole.ids[:start].tolist(),
        whole.ids[start:].tolist(),
        whole.logprobs[start:].tolist(),
        whole.mask[start:].astype(int).tolist(),
        [to_pil(image.pixels()) for image in whole.images],
        episode,
    )
