"""Episode: one environment and one policy behind a server, played to the end, as tokens to train on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from deepeyes_env.agents.transformers.chat import Chat, written
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import PolicyTokens, Trajectory, Turn
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.errors import DeepEyesError
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trainers.verl.settings import TokenLimits

Generate = Callable[[list[int], Sequence[ImageRef], int], Awaitable[PolicyTokens]]
"""Asks the policy for its next message: the conversation's tokens, its images, and the most new tokens."""

Show = Callable[[Sequence[ImageRef]], None]
"""Is told of each further image of the conversation, in order, before the policy is asked with it."""

InThread = Callable[[Callable[[], Any]], Awaitable[Any]]
"""Runs a call off the event loop's thread."""


@dataclass(frozen=True, slots=True)
class PlayedRollout:
    """An episode as tokens.

    Attributes:
        prompt: The tokens before the policy's first one.
        response: All that follow: the policy's, under the completion mask, and what the environment said in between.
            At least one; none is under the mask if the rollout failed.
        trajectory: What was played; ``None`` if the environment failed before it began.
        error: Why the rollout failed; empty if it did not.
        vision_tokens: How many messages were cut where the policy wrote a vision token.
    """

    prompt: TokenSequence
    response: TokenSequence
    trajectory: Trajectory | None
    error: str = ""
    vision_tokens: int = 0

    @property
    def finished(self) -> Trajectory | None:
        """The trajectory, if it was played to its end and so has a reward."""
        return None if self.error else self.trajectory


class _RolloutFailedError(DeepEyesError):
    """A rollout cannot go on; the message says why."""


@dataclass(slots=True)
class Episode:
    """Plays one episode.

    The environment works in threads. What it raises costs this rollout and no other: the tokens so far are kept, none
    of them under the mask.

    Attributes:
        make_env: Makes the environment in which it is played, which is closed at its end.
        chat: Writes it as tokens.
        limits: How many tokens it may have.
        vision: Tokens that stand for images, or mark them: a message ends where the policy writes one.
        generate: Asks the policy.
        in_thread: Runs a call off the event loop's thread.
        show: Makes images ready for the server; those of observations in a thread.
    """

    make_env: Callable[[], VisualToolboxEnv]
    chat: Chat
    limits: TokenLimits
    vision: frozenset[int]
    generate: Generate
    in_thread: InThread
    show: Show = lambda images: None
    _env: VisualToolboxEnv | None = field(default=None, init=False)
    _prompt: TokenSequence | None = field(default=None, init=False)
    _parts: list[TokenSequence] = field(default_factory=list, init=False)
    _so_far: Trajectory | None = field(default=None, init=False)
    _cut: int = field(default=0, init=False)

    async def play(self, seed: int, options: Mapping[str, Any]) -> PlayedRollout:
        """Play it.

        Args:
            seed: Seed of the environment.
            options: Options of its ``reset``.

        Raises:
            DeepEyesError: The environment cannot be made.
        """
        try:
            finished = await self._play(seed, options)
        except _RolloutFailedError as error:
            return self._failed(str(error))
        finally:
            if self._env is not None:
                await self.in_thread(self._close)
        assert self._prompt is not None
        return PlayedRollout(self._prompt, TokenSequence.concatenated(self._parts), finished, "", self._cut)

    async def _play(self, seed: int, options: Mapping[str, Any]) -> Trajectory:
        so_far = self._so_far = await self.in_thread(lambda: self._begin(seed, options))
        prompt = self._prompt = self.chat.prompt(so_far)
        if len(prompt) > self.limits.prompt or self._room() < 1:
            raise _RolloutFailedError(
                f"sample {so_far.sample.id!r}: the prompt has {len(prompt)} tokens, and data.max_prompt_length is "
                f"{self.limits.prompt} (with a response of up to {self.limits.response} in a context of "
                f"{self.limits.context}): raise it, or lower max_pixels"
            )
        with _fails_the_rollout():
            self.show(prompt.images)
        while True:
            turn, info = await self._turn()
            so_far = self._so_far = so_far.extended(turn)
            if "trajectory" not in info:
                observation = self._observation(turn)
                if observation is not None:
                    self._parts.append(observation)
                    continue
                info = await self.in_thread(lambda: self._take(lambda env: env.truncate("token_budget")))
            finished: Trajectory = info["trajectory"]
            return replace(finished, turns=so_far.turns)

    async def _turn(self) -> tuple[Turn, dict[str, Any]]:
        """Ask for a message and take a step with it."""
        assert self._prompt is not None
        conversation = TokenSequence.concatenated([self._prompt, *self._parts])
        room = min(self._room(), self.limits.message)
        completion = self._usable(await self.generate(conversation.ids.tolist(), conversation.images, room))
        self._parts.append(written(completion))
        ended = completion.ids[-1] == self.chat.end_of_turn
        text = self.chat.text(completion.ids)
        info = await self.in_thread(lambda: self._take(lambda env: env.step(text)))
        return replace(info["turn"], tokens=completion, finish_reason="stop" if ended else "length"), info

    def _observation(self, turn: Turn) -> TokenSequence | None:
        """Return an observation as tokens; ``None`` if it, whole, leaves no room for a message."""
        assert turn.observation is not None
        assert turn.tokens is not None
        observation = self.chat.observation(turn.observation, turn.tokens.ids[-1])
        return observation if len(observation) < self._room() else None

    def _room(self) -> int:
        assert self._prompt is not None
        return self.limits.room(len(self._prompt), sum(map(len, self._parts)))

    def _usable(self, completion: PolicyTokens) -> PolicyTokens:
        """Return a message up to the first vision token in it, and ended there by a token that is not trained on.

        A vision token would stand for an image that is not there, in this message and in the trainer.
        """
        ids = completion.ids
        stop = next((place for place, token in enumerate(ids) if token in self.vision), len(ids))
        if 0 < stop == len(ids):
            return replace(completion, mask=(1,) * stop)
        self._cut += stop < len(ids)
        logprobs = (*completion.logprobs[:stop], 0.0) if completion.logprobs or not ids else ()
        return PolicyTokens((*ids[:stop], self.chat.end_of_turn), logprobs, (*(1,) * stop, 0))

    def _failed(self, error: str) -> PlayedRollout:
        nothing = TokenSequence.context(np.array([self.chat.end_of_turn], np.int64))
        parts = [TokenSequence.context(part.ids, part.images) for part in self._parts]
        response = TokenSequence.concatenated(parts) if parts else nothing
        begun = self._prompt is not None and len(self._prompt) <= self.limits.prompt
        return PlayedRollout(
            self._prompt if begun and self._prompt is not None else nothing, response, self._so_far, error, self._cut
        )

    # What follows runs in threads, one call for each message: the event loop pays for each way there and back.

    def _begin(self, seed: int, options: Mapping[str, Any]) -> Trajectory:
        env = self._env = self.make_env()
        with _fails_the_rollout():
            _, info = env.reset(seed=seed, options=dict(options))
        begun: Trajectory = info["trajectory"]
        return begun

    def _take(self, step: Callable[[VisualToolboxEnv], tuple[Any, ...]]) -> dict[str, Any]:
        """Take a step; returns its ``info``."""
        assert self._env is not None
        told: dict[str, Any]
        with _fails_the_rollout():
            *_, told = step(self._env)
            if "trajectory" not in told:
                self.show(told["turn"].observation.images)
        if "trajectory" in told:
            self._close()
        return told

    def _close(self) -> None:
        env, self._env = self._env, None
        if env is not None:
            env.close()


@contextmanager
def _fails_the_rollout() -> Iterator[None]:
    """What an environment raises fails the rollout."""
    try:
        yield
    except Exception as error:
        raise _RolloutFailedError(f"{type(error).__name__}: {error}") from error
