"""TransformersAgent: a local model directory plays episodes, many at once, and reads nothing twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import torch

from deepeyes_env.agents.agent import AgentError, Reply
from deepeyes_env.agents.budget import Budget
from deepeyes_env.agents.context import keep_up, with_ledger
from deepeyes_env.agents.families import family_of
from deepeyes_env.agents.transformers.chat import written
from deepeyes_env.agents.transformers.encoding import Heard, check_frame, context_budget, hear, seeds_of
from deepeyes_env.agents.transformers.generator import Conversation, Generator, Sampling
from deepeyes_env.agents.transformers.policy import VisionPolicy
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import PolicyTokens, Trajectory
from deepeyes_env.images.frames import Frame


class TransformersAgent:
    """Plays with a local model, run by transformers.

    All conversations of a call are written to at once, and what was read of them is kept for the next call: a turn
    costs what is new in it. A conversation that went on otherwise than it was left (a branch, a crop that the budget
    left out) is read anew. Replies carry token ids and log-probabilities.

    Attributes:
        name: Name of the agent, for records and reports.
        frame: Coordinate frame in which the model writes boxes; the environment must be given the same.
        budget: What a conversation may hold.

    Args:
        model: A model directory, or a model that is loaded already.
        sampling: How to sample; by default the likeliest token, as in an evaluation.
        seed: Seed of what is sampled, with the seeds of the episodes and their samples.
        budget: By default what the model's context holds beside the longest message; the oldest crops are left out of
            what exceeds it.
        frame: Overrides the frame of the model's family.
        device: Where to run it.
        dtype: What to compute in; weights stay in ``float32``.
        name: By default the name of the directory.

    Raises:
        ValueError: The directory holds no model of a known kind, or the model's context is too short for the messages.
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
        policy = model if isinstance(model, VisionPolicy) else VisionPolicy.load(model, device, dtype)
        family = family_of(policy.model.config.model_type if isinstance(model, VisionPolicy) else model, frame)
        self.name = name or (family.model_type if isinstance(model, VisionPolicy) else Path(model).resolve().name)
        self.frame: Frame = family.frame
        context: int = policy.model.config.text_config.max_position_embeddings
        self.budget = budget or context_budget(policy.tokenizer, family, context, sampling.max_new_tokens)
        self._seed = seed
        self._policy = policy
        self._generator = Generator(policy, sampling)
        self._kept: dict[_Key, Conversation] = {}

    def act(self, episodes: Sequence[Trajectory]) -> list[Reply | AgentError]:
        """Return the next message of each episode, with its tokens; an error for one that does not fit its budget.

        Raises:
            ValueError: An episode is played in another coordinate frame than the model's.
        """
        heard = [self._heard(episode) for episode in episodes]
        seeds = [seeds_of(episode, self._seed) for episode in episodes]
        kept, self._kept = self._kept, {}
        due = {
            number: self._resumed(each, seeds[number], kept)
            for number, each in enumerate(heard)
            if isinstance(each, Heard)
        }
        kept.clear()  # what nobody goes on with is freed before more is read
        said: dict[int, PolicyTokens] = {}
        if due:
            self._generator.speak(
                list(due.values()), lambda conversation, tokens: said.update({id(conversation): tokens})
            )
        replies: list[Reply | AgentError] = []
        for number, each in enumerate(heard):
            if isinstance(each, AgentError):
                replies.append(each)
                continue
            tokens = said[id(due[number])]
            whole = TokenSequence.concatenated([each.tokens, written(tokens)])
            self._kept[_key(seeds[number], whole)] = due[number]
            replies.append(Reply(self._policy.chat.text(tokens.ids), tokens))
        return replies

    def with_ledger(self, trajectory: Trajectory) -> Trajectory:
        """Return a finished trajectory with what was read at each of its turns in ``metadata["ledger"]``."""
        return with_ledger(trajectory, self.budget)

    def _heard(self, episode: Trajectory) -> Heard | AgentError:
        check_frame(episode, self.frame, self.name)
        try:
            return hear(self._policy.chat, keep_up(episode, self.budget).episode)
        except AgentError as error:
            return error

    def _resumed(self, heard: Heard, seeds: tuple[int, ...], kept: dict[_Key, Conversation]) -> Conversation:
        """Return a conversation with what is new in it unread; all of it, if it was not kept as it is."""
        conversation = kept.pop(_key(seeds, heard.before), None) if heard.before is not None else None
        if conversation is not None and heard.before is not None:
            conversation.hear(_after(heard.tokens, heard.before))
            return conversation
        begun = Conversation(seeds, heard.tokens, opening=_key((), heard.tokens))
        begun.turn = heard.turn
        return begun


_Key: TypeAlias = tuple[tuple[int, ...], bytes, tuple[str, ...]]


def _key(seed: tuple[int, ...], tokens: TokenSequence) -> _Key:
    """Name what was read: equal names mean equal tokens and images."""
    return (seed, tokens.ids.tobytes(), tuple(image.digest for image in tokens.images))


def _after(whole: TokenSequence, before: TokenSequence) -> TokenSequence:
    return TokenSequence.context(whole.ids[len(before) :], whole.images[len(before.images) :])
