"""Rollouts: episodes played by the policy in a vector environment, in decode batches."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from deepeyes_env.agents.transformers.generator import CachedConversation, Generator
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import PolicyTokens, Sample, Trajectory
from deepeyes_env.envs.vector import BatchedVectorEnv
from deepeyes_env.envs.vector.messages import Command, Outcome, Reset, Step, Truncate
from deepeyes_env.errors import UsageError

logger = logging.getLogger(__name__)

FLUSH = 4
"""Messages go to the environments in about this many batches a decode batch, so that they work meanwhile."""


@dataclass(frozen=True, slots=True)
class EpisodeSpec:
    """How an episode begins.

    Attributes:
        seed: Seed of the environment: decides the order of options.
        source: Index into the environment's data set, or a sample from elsewhere.
        sampling_seed: Seed of what the policy samples.
        group: Episodes of one group begin with the same prompt, which is prefilled once.
        greedy: The policy takes the likeliest token.
    """

    seed: int
    source: int | Sample
    sampling_seed: tuple[int, ...]
    group: int
    greedy: bool = False

    @property
    def command(self) -> Reset:
        """What begins it."""
        return Reset(self.seed, {"sample" if isinstance(self.source, Sample) else "index": self.source})


@dataclass(frozen=True, slots=True)
class PlayedEpisode:
    """An episode that came to an end.

    Attributes:
        spec: How it began.
        trajectory: What was played, with the policy's tokens; ``None`` if the environment failed before it began.
        error: Why the environment failed; empty if it did not. Such an episode has no reward.
    """

    spec: EpisodeSpec
    trajectory: Trajectory | None
    error: str = ""

    @property
    def finished(self) -> Trajectory | None:
        """The trajectory, if it was played to its end and so has a reward."""
        return None if self.error else self.trajectory


@dataclass(slots=True)
class Timers:
    """Seconds spent, by what on."""

    generate: float = 0.0
    wait: float = 0.0


@dataclass(slots=True)
class _Episode:
    spec: EpisodeSpec
    trajectory: Trajectory | None = None
    conversation: CachedConversation | None = None
    tokens: int = 0
    completion: PolicyTokens | None = None


@dataclass(frozen=True, slots=True)
class _GroupPrompt:
    """The prompt that all episodes of a group share."""

    trajectory: Trajectory
    tokens: TokenSequence


@dataclass(slots=True)
class Rollouts:
    """Plays one batch of episodes at a time.

    Environments work in the background: between ``begin`` and ``play`` the first observations are made, and while a
    message is being generated, others that are complete are acted on. A decode batch waits ``max_wait`` seconds for
    environments that are slower than the rest, then goes on without them: a slow tool delays its own episodes only.

    Attributes:
        env: Where they are played; at least as many environments as a batch has episodes.
        generator: Who plays.
        max_wait: Seconds that a decode batch waits for slow environments.
        max_tokens: Most tokens of an episode, prompt and images included: no message is begun that might not fit.
        timers: What time was spent on; the caller may set it back.
    """

    env: BatchedVectorEnv
    generator: Generator
    max_wait: float
    max_tokens: int
    timers: Timers = field(default_factory=Timers)
    _episodes: dict[int, _Episode] = field(default_factory=dict)
    _ended: dict[int, PlayedEpisode] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        """Whether a batch has begun that was not played yet."""
        return bool(self._episodes)

    def begin(self, specs: Sequence[EpisodeSpec]) -> None:
        """Begin a batch of episodes; returns at once.

        Raises:
            UsageError: Another batch was begun, or there are more episodes than environments.
        """
        if self.begun:
            raise UsageError("a batch of episodes is under way; play it first")
        if len(specs) > self.env.num_envs:
            raise UsageError(f"{len(specs)} episodes do not fit into {self.env.num_envs} environments")
        self._episodes = {number: _Episode(spec) for number, spec in enumerate(specs)}
        self.env.send({number: spec.command for number, spec in enumerate(specs)})

    def play(self) -> list[PlayedEpisode]:
        """Play the episodes that were begun to their ends; returns them in the order of their specs."""
        prompts: dict[int, _GroupPrompt] = {}
        while len(self._ended) < len(self._episodes):
            due: list[int] = []
            for outcomes in self._arriving():
                received = [self._receive(number, outcome, prompts) for number, outcome in outcomes.items()]
                due += self._prefill([number for number in received if number is not None])
            self._generate(due)
        ended, self._ended, self._episodes = self._ended, {}, {}
        return [ended[number] for number in sorted(ended)]

    def _arriving(self) -> Iterator[dict[int, Outcome]]:
        """Yield what environments say, batch by batch in the order sent, until all have, or one is late."""
        until = time.monotonic() + self.max_wait
        arrived = False
        while self.env.outstanding and not (arrived and time.monotonic() >= until):
            began = time.perf_counter()
            outcomes = self.env.recv(max(0.0, until - time.monotonic()) if arrived else self.max_wait, oldest=True)
            self.timers.wait += time.perf_counter() - began
            arrived = arrived or bool(outcomes)
            yield outcomes

    def _receive(self, number: int, outcome: Outcome, prompts: dict[int, _GroupPrompt]) -> int | None:
        """Take in what an environment returned; returns its number if the next message is the policy's."""
        episode = self._episodes[number]
        if outcome.error:
            self._failed(number, outcome)
            return None
        if episode.trajectory is None:
            spec, begun = episode.spec, outcome.info["trajectory"]
            # The same objects for all members of a group: an image is encoded once for each object.
            if spec.group not in prompts:
                prompts[spec.group] = _GroupPrompt(begun, self.generator.policy.chat.prompt(begun))
            prompt = prompts[spec.group]
            episode.trajectory = replace(begun, prompt=prompt.trajectory.prompt, sample=prompt.trajectory.sample)
            episode.conversation = CachedConversation(
                spec.sampling_seed, prompt.tokens, prompt_key=spec.group, greedy=spec.greedy
            )
            episode.tokens = len(prompt.tokens)
            if self._fits(episode):
                return number
            self._failed(number, replace(outcome, error=self._too_long(episode)))
            return None
        if "turn" not in outcome.info:  # ended by the token budget
            self._finish(number, outcome)
            return None
        assert episode.completion is not None
        finish_reason = self.generator.policy.finish_reason(episode.completion)
        turn = replace(outcome.info["turn"], tokens=episode.completion, finish_reason=finish_reason)
        episode.trajectory = episode.trajectory.extended(turn)
        if outcome.done:
            self._finish(number, outcome)
            return None
        assert episode.conversation is not None
        chat = self.generator.policy.chat
        episode.tokens += len(episode.completion.ids)
        if turn.observation is not None:
            observation = chat.observation(turn.observation, episode.completion.ids[-1])
            episode.conversation.append(observation)
            episode.tokens += len(observation)
        if not self._fits(episode):
            self.env.send({number: Truncate("token_budget")})
            return None
        return number

    def _fits(self, episode: _Episode) -> bool:
        """Whether another message fits, however long it becomes."""
        return episode.tokens + self.generator.sampling.max_new_tokens <= self.max_tokens

    def _too_long(self, episode: _Episode) -> str:
        return (
            f"the prompt has {episode.tokens} tokens: with rollout.max_new_tokens="
            f"{self.generator.sampling.max_new_tokens} more than the {self.max_tokens} of the model's context or of "
            "rollout.max_episode_tokens; lower env.max_pixels (scenes.view_pixels) or rollout.max_new_tokens"
        )

    def _finish(self, number: int, outcome: Outcome) -> None:
        """Keep an episode that has ended, with what only this side knows of it."""
        episode = self._episodes[number]
        assert episode.trajectory is not None
        played = episode.trajectory
        finished = replace(outcome.info["trajectory"], turns=played.turns, prompt=played.prompt, sample=played.sample)
        self._ended[number] = PlayedEpisode(episode.spec, finished)

    def _failed(self, number: int, outcome: Outcome) -> None:
        episode = self._episodes[number]
        logger.warning("episode of %s failed: %s", episode.spec.source, outcome.error)
        self._ended[number] = PlayedEpisode(
            episode.spec, outcome.info.get("trajectory", episode.trajectory), outcome.error
        )

    def _prefill(self, due: Sequence[int]) -> Sequence[int]:
        """Prefill the observations of some environments while others are not done yet; returns their numbers."""
        began = time.perf_counter()
        self.generator.prefill(self._conversations(due))
        self.timers.generate += time.perf_counter() - began
        return due

    def _conversations(self, numbers: Sequence[int]) -> list[CachedConversation]:
        conversations = [self._episodes[number].conversation for number in numbers]
        return [each for each in conversations if each is not None]

    def _generate(self, due: Sequence[int]) -> None:
        """Generate the next message of some episodes, and send each on its way as soon as it is finished."""
        if not due:
            return
        began, waited = time.perf_counter(), 0.0
        outbox: dict[int, Command] = {}
        numbers = {id(self._episodes[number].conversation): number for number in due}

        def on_finished(conversation: CachedConversation, completion: PolicyTokens) -> None:
            nonlocal waited
            number = numbers[id(conversation)]
            self._episodes[number].completion = completion
            outbox[number] = Step(self.generator.policy.chat.text(completion.ids))
            if len(outbox) >= max(1, len(due) // FLUSH):
                waited += self._flush(outbox)

        self.generator.generate(self._conversations(due), on_finished)
        waited += self._flush(outbox)
        self.timers.generate += time.perf_counter() - began - waited
        self.timers.wait += waited

    def _flush(self, outbox: dict[int, Command]) -> float:
        began = time.perf_counter()
        if outbox:
            self.env.send(dict(outbox))
            outbox.clear()
        return time.perf_counter() - began
