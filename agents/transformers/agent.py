"""TransformersAgent: a local model directory plays episodes, many at once, with a KV cache kept over the turns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import torch

from deepeyes_env.agents.agent import AgentError, Reply
from deepeyes_env.agents.budget import Budget
from deepeyes_env.agents.context import fit_to_budget, with_context_log
from deepeyes_env.agents.families import family_of
from deepeyes_env.agents.hub import model_directory
from deepeyes_env.agents.transformers.chat import written
from deepeyes_env.agents.transformers.encoding import EncodedPrompt, check_frame, context_budget, encode, seeds_of
from deepeyes_env.agents.transformers.generator import CachedConversation, Generator, Sampling
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import PolicyTokens, Trajectory
from deepeyes_env.images.frames import Frame


class TransformersAgent:
    """Plays with a local model, run by transformers.

    The messages of all conversations of a call are generated in one batch, and their KV cache is kept for the next
    call: a turn prefills only what is new in it. A conversation that went on otherwise than it was left (a branch, a
    crop that the budget left out) is prefilled anew. Replies carry token ids and log-probabilities.

    Attributes:
        name: Name of the agent, for records and reports.
        frame: Coordinate frame in which the model writes boxes; the environment must be given the same.
        budget: What a conversation may hold.

    Args:
        model: A model directory, a name on the Hugging Face Hub, or a model that is loaded already.
        sampling: How to sample; by default the likeliest token, as in an evaluation.
        seed: Seed of what is sampled, with the seeds of the episodes and their samples.
        budget: By default what the model's context holds beside ``sampling.max_new_tokens``; the oldest crops are left
            out of what exceeds it.
        frame: Overrides the frame of the model's family.
        device: Where to run it.
        dtype: What to compute in; weights stay in ``float32``.
        name: By default the name of the directory.

    Raises:
        UsageError: The directory holds no model of a family that is run here (``ProcessorAgent`` takes others), or the
            model's context is too short for the messages.
    """

    def __init__(
        self,
        model: str | Path | VisionPolicy,
        *,
        sampling: Sampling = Sampling(temperature=0.0),  # noqa: B008
        seed: int = 0,
        budget: Budget | None = None,
        frame: Frame | None = None,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
        name: str = "",
    ) -> None:
        if isinstance(model, VisionPolicy):
            policy, family = model, family_of(model.model.config.model_type, frame)
        else:
            folder = model_directory(model)
            policy, family = VisionPolicy.load(folder, device, dtype), family_of(folder, frame)
        self.name = name or (family.model_type if isinstance(model, VisionPolicy) else Path(model).resolve().name)
        self.frame: Frame = family.frame
        self.budget = budget or context_budget(policy.tokenizer, family, policy.context, sampling.max_new_tokens)
        self.about = {"temperature": sampling.temperature, "max_new_tokens": sampling.max_new_tokens, "device": device}
        self._seed = seed
        self._policy = policy
        self._generator = Generator(policy, sampling)
        self._cached: dict[_Key, CachedConversation] = {}

    def act(self, episodes: Sequence[Trajectory]) -> list[Reply | AgentError]:
        """Return the next message of each episode, with its tokens; an error for one that does not fit its budget.

        Raises:
            UsageError: An episode is played in another coordinate frame than the model's.
        """
        prompts = [self._encoded(episode) for episode in episodes]
        seeds = [seeds_of(episode, self._seed) for episode in episodes]
        cached, self._cached = self._cached, {}
        due = {
            number: self._resumed(prompt, seeds[number], cached)
            for number, prompt in enumerate(prompts)
            if isinstance(prompt, EncodedPrompt)
        }
        cached.clear()  # a KV cache that nobody continues is freed before more is prefilled
        completions: dict[int, PolicyTokens] = {}
        if due:
            self._generator.generate(
                list(due.values()), lambda conversation, tokens: completions.update({id(conversation): tokens})
            )
        replies: list[Reply | AgentError] = []
        for number, prompt in enumerate(prompts):
            if isinstance(prompt, AgentError):
                replies.append(prompt)
                continue
            completion = completions[id(due[number])]
            whole = TokenSequence.concatenated([prompt.tokens, written(completion)])
            self._cached[_key(seeds[number], whole)] = due[number]
            replies.append(
                Reply(self._policy.chat.text(completion.ids), completion, self._policy.finish_reason(completion))
            )
        return replies

    def with_context_log(self, trajectory: Trajectory) -> Trajectory:
        """Return a finished trajectory with what the prompt of each turn held in ``metadata["context_log"]``."""
        return with_context_log(trajectory, self.budget)

    def _encoded(self, episode: Trajectory) -> EncodedPrompt | AgentError:
        check_frame(episode, self.frame, self.name)
        try:
            return encode(self._policy.chat, fit_to_budget(episode, self.budget).episode)
        except AgentError as error:
            return error

    def _resumed(
        self, prompt: EncodedPrompt, seeds: tuple[int, ...], cached: dict[_Key, CachedConversation]
    ) -> CachedConversation:
        """Return a conversation with what is new in it pending; all of it, if its prefix is in no KV cache."""
        conversation = cached.pop(_key(seeds, prompt.prefix), None) if prompt.prefix is not None else None
        if conversation is not None and prompt.prefix is not None:
            conversation.append(_after(prompt.tokens, prompt.prefix))
            return conversation
        begun = CachedConversation(seeds, prompt.tokens, prompt_key=_key((), prompt.tokens))
        begun.turn = prompt.turn
        return begun


_Key: TypeAlias = tuple[tuple[int, ...], bytes, tuple[str, ...]]


def _key(seed: tuple[int, ...], tokens: TokenSequence) -> _Key:
    """Name what a KV cache holds: equal names mean equal tokens and images."""
    return (seed, tokens.ids.tobytes(), tuple(image.digest for image in tokens.images))


def _after(whole: TokenSequence, prefix: TokenSequence) -> TokenSequence:
    return TokenSequence.context(whole.ids[len(prefix) :], whole.images[len(prefix.images) :])
