"""VLLMAgent: vLLM's engine in this process plays episodes, many at once.

vLLM is imported when an agent is made; with torch and transformers alone this module can be imported all the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.agents.agent import AgentError, Reply
from deepeyes_env.agents.budget import Budget
from deepeyes_env.agents.context import fit_to_budget, with_context_log
from deepeyes_env.agents.families import family_of
from deepeyes_env.agents.finish_reason import finish_reason_of
from deepeyes_env.core import PolicyTokens, Trajectory
from deepeyes_env.errors import UsageError
from deepeyes_env.extras import import_extra, needs_extra
from deepeyes_env.images.frames import Frame
from deepeyes_env.images.pil import to_pil

with needs_extra("vllm"):
    from deepeyes_env.agents.transformers.chat import Chat, processor_template
    from deepeyes_env.agents.transformers.encoding import check_frame, context_budget, encode, seeds_of
    from deepeyes_env.agents.transformers.generator import Sampling
    from deepeyes_env.agents.transformers.sequence import TokenSequence

MOST_IMAGES = 32
"""Most images of a conversation for which the engine makes room, where the budget sets no limit."""

_BANNED = -100.0


class VLLMAgent:
    """Plays with vLLM's engine in this process.

    Conversations go in as token ids, what was sampled as it was sampled, so that vLLM's prefix cache has their KV cache
    at the next turn. Images carry our hashes as their names: an image that the engine has seen, in whatever episode,
    is not run through the vision tower again. Replies carry token ids and the log-probabilities that they were sampled
    with; special tokens are banned, as in ``TransformersAgent``.

    Attributes:
        name: Name of the agent, for records and reports.
        frame: Coordinate frame in which the model writes boxes; the environment must be given the same.
        budget: What a conversation may hold.

    Args:
        model: A model directory, or a name that vLLM can load.
        sampling: How to sample; by default the likeliest token, as in an evaluation.
        seed: Seed of what is sampled, with the seeds of the episodes and their samples.
        budget: By default what the model's context holds beside ``sampling.max_new_tokens``; the oldest crops are left
            out of what exceeds it.
        frame: Overrides the frame of the model's family.
        name: By default the last part of the model's name.
        **engine: Further arguments of ``vllm.LLM``, such as ``gpu_memory_utilization`` or ``tensor_parallel_size``.

    Raises:
        MissingExtraError: vLLM is not installed.
        UsageError: The model's family is not known, or its images do not become tokens one square at a time.
    """

    def __init__(
        self,
        model: str | Path,
        *,
        sampling: Sampling = Sampling(temperature=0.0),  # noqa: B008
        seed: int = 0,
        budget: Budget | None = None,
        frame: Frame | None = None,
        name: str = "",
        **engine: Any,
    ) -> None:
        family = family_of(model, frame)
        if family.view is None:
            raise UsageError(
                f"model {str(model)!r}: serve it with vLLM and play it by OpenAIAgent; here it must be a Qwen"
            )
        vllm = import_extra("vllm", "vllm")
        self.name = name or Path(model).resolve().name
        self.frame: Frame = family.frame
        self.about = {"temperature": sampling.temperature, "max_new_tokens": sampling.max_new_tokens}
        self._sampling = sampling
        self._seed = seed
        self._view = family.view
        settings = {
            "seed": seed,
            "limit_mm_per_prompt": {"image": (budget and budget.max_images) or MOST_IMAGES, "video": 0},
            "logprobs_mode": "processed_logprobs",
            **engine,
        }
        self._engine = vllm.LLM(model=str(model), **settings)
        self._settings = vllm.SamplingParams
        config = self._engine.llm_engine.model_config
        tokenizer: Any = self._engine.get_tokenizer()
        tokenizer.chat_template = tokenizer.chat_template or processor_template(Path(model))
        self._chat = Chat(tokenizer, config.hf_config.image_token_id, family.view.factor)
        context: int = config.max_model_len
        self.budget = budget or context_budget(tokenizer, family, context, sampling.max_new_tokens)
        self._banned = dict.fromkeys(set(tokenizer.all_special_ids) - self._stops(tokenizer), _BANNED)

    def act(self, episodes: Sequence[Trajectory]) -> list[Reply | AgentError]:
        """Return the next message of each episode, with its tokens; an error for one that does not fit its budget.

        Raises:
            UsageError: An episode is played in another coordinate frame than the model's, or with images that the
                model's processor would resize.
        """
        replies: list[Reply | AgentError | None] = [None] * len(episodes)
        prompts, settings = [], []
        for number, episode in enumerate(episodes):
            try:
                prompt, how = self._asked(episode)
            except AgentError as error:
                replies[number] = error
                continue
            prompts.append(prompt)
            settings.append(how)
        outputs = iter(self._engine.generate(prompts, settings, use_tqdm=False) if prompts else ())
        return [self._reply(next(outputs)) if reply is None else reply for reply in replies]

    def with_context_log(self, trajectory: Trajectory) -> Trajectory:
        """Return a finished trajectory with what the prompt of each turn held in ``metadata["context_log"]``."""
        return with_context_log(trajectory, self.budget)

    def _asked(self, episode: Trajectory) -> tuple[dict[str, Any], Any]:
        """Return a prompt of vLLM and its sampling parameters."""
        check_frame(episode, self.frame, self.name)
        prompt = encode(self._chat, fit_to_budget(episode, self.budget).episode)
        for image in prompt.tokens.images:
            if self._view.fit(image.size) != image.size:
                raise UsageError(
                    f"the episode of sample {episode.sample.id!r} shows an image of {image.size} pixels, which "
                    f"{self.name} would resize to {self._view.fit(image.size)}; give the environment view={self._view}"
                )
        state = np.random.SeedSequence((*seeds_of(episode, self._seed), prompt.turn)).generate_state(1)
        settings = self._settings(
            temperature=self._sampling.temperature,
            max_tokens=self._sampling.max_new_tokens,
            seed=int(state[0]),
            logprobs=0,
            logit_bias=self._banned,
            skip_special_tokens=False,
            detokenize=False,
        )
        return prompt_of(prompt.tokens, self._chat.image_token, self._view.factor), settings

    def _reply(self, output: Any) -> Reply:
        completion = output.outputs[0]
        tokens = _tokens(completion)
        return Reply(self._chat.text(tokens.ids), tokens, finish_reason_of(completion.finish_reason))

    def _stops(self, tokenizer: Any) -> set[int]:
        return {self._chat.end_of_turn, tokenizer.eos_token_id} - {None}


def prompt_of(tokens: TokenSequence, image_token: int, factor: int) -> dict[str, Any]:
    """Write a conversation as a prompt of vLLM: one image token for each image, which vLLM multiplies itself."""
    prompt: dict[str, Any] = {"prompt_token_ids": folded(tokens, image_token, factor).tolist()}
    if tokens.images:
        prompt["multi_modal_data"] = {"image": [to_pil(image.pixels()) for image in tokens.images]}
        prompt["multi_modal_uuids"] = {"image": [image.digest for image in tokens.images]}
    return prompt


def folded(tokens: TokenSequence, image_token: int, factor: int) -> NDArray[np.int64]:
    """Return token ids with the many tokens of each image as one."""
    keep = tokens.ids != image_token
    positions = np.flatnonzero(~keep)
    first = 0
    for image in tokens.images:
        keep[positions[first]] = True
        first += (image.size[0] // factor) * (image.size[1] // factor)
    ids: NDArray[np.int64] = tokens.ids[keep]
    return ids


def _tokens(output: Any) -> PolicyTokens:
    ids = tuple(int(token) for token in output.token_ids)
    logprobs = tuple(float(each[token].logprob) for token, each in zip(ids, output.logprobs or (), strict=True))
    return PolicyTokens(ids, logprobs, (1,) * len(ids))
