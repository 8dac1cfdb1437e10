"""Rollouts: episodes played by the policy in a vector environment, in waves."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from deepeyes_env.agents.transformers.generator import Conversation, Generator
from deepeyes_env.agents.transformers.sequence import TokenSequence
from deepeyes_env.core import PolicyTokens, Sample, Trajectory
from deepeyes_env.envs.vector import BatchedVectorEnv
from deepeyes_env.envs.vector.messages import Command, Outcome, Reset, Step
from deepeyes_env.errors import UsageError

logger = logging.getLogger(__name__)

FLUSH = 4
"""Messages go to the environments in about this many batches a wave, so that they work while others are written."""


@dataclass(frozen=True, slots=True)
class EpisodeSpec:
    """How an episode begins.

    Attributes:
        seed: Seed of the environment: decides the order of options.
        source: Index into the environment's data set, or a sample from elsewhere.
        sampling_seed: Seed of what the policy samples.
        group: Episodes of one group begin with the same prompt, which is read once.
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
    conversation: Conversation | None = None
    said: PolicyTokens | None = None


@dataclass(frozen=True, slots=True)
class _Opening:
    """How all episodes of a group begin."""

    trajectory: Trajectory
    tokens: TokenSequence


@dataclass(slots=True)
class Rollouts:
    """Plays one batch of episodes at a time.

    Environments work in the background: between ``begin`` and ``play`` the first observations are drawn, and
    while a message is being written, others that are complete are acted on. A wave waits ``patience`` seconds for
    environments that are slower than the rest, then goes on without them: a slow tool delays its own episodes only.

    Attributes:
        env: Where they are played; at least as many environments as a batch has episodes.
        generator: Who plays.
        patience: Seconds that a wave waits.
        timers: What time was spent on; the caller may set it back.
    """

    env: BatchedVectorEnv
    generator: Generator
    patience: float
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
            ValueError: Another batch was begun, or there are more episodes than environments.
        """
        if self.begun:
            raise UsageError("a batch of episodes is under way; play it first")
        if len(specs) > self.env.num_envs:
            raise UsageError(f"{len(specs)} episodes do not fit into {self.env.num_envs} environments")
        self._episodes = {number: _Episode(spec) for number, spec in enumerate(specs)}
        self.env.send({number: spec.command for number, spec in enumerate(specs)})

    def play(self) -> list[PlayedEpisode]:
        """Play the episodes that were begun to their ends; returns them in the order of their specs."""
        openings: dict[int, _Opening] = {}
        while len(self._ended) < len(self._episodes):
            due: list[int] = []
            for outcomes in self._arriving():
                heard = [self._heard(number, outcome, openings) for number, outcome in outcomes.items()]
                due += self._read([number for number in heard if number is not None])
            self._speak(due)
        ended, self._ended, self._episodes = self._ended, {}, {}
        return [ended[number] for number in sorted(ended)]

    def _arriving(self) -> Iterator[dict[int, Outcome]]:
        """Yield what environments say, batch by batch in the order sent, until all have, or one is late."""
        until = time.monotonic() + self.patience
        arrived = False
        while self.env.outstanding and not (arrived and time.monotonic() >= until):
            began = time.perf_counter()
            outcomes = self.env.recv(max(0.0, until - time.monotonic()) if arrived else self.patience, oldest=True)
            self.timers.wait += time.perf_counter() - began
            arrived = arrived or bool(outcomes)
            yield outcomes

    def _heard(self, number: int, outcome: Outcome, openings: dict[int, _Opening]) -> int | None:
        """Take in what an environment said; returns its number if the policy is to speak next."""
        episode = self._episodes[number]
        if outcome.error:
            self._failed(number, outcome)
            return None
        if episode.trajectory is None:
            spec, begun = episode.spec, outcome.info["trajectory"]
            # The same objects for all members of a group: an image is encoded once for each object.
            if spec.group not in openings:
                openings[spec.group] = _Opening(begun, self.generator.policy.chat.prompt(begun))
            opening = openings[spec.group]
            episode.trajectory = replace(begun, prompt=opening.trajectory.prompt, sample=opening.trajectory.sample)
            episode.conversation = Conversation(
                spec.sampling_seed, opening.tokens, opening=spec.group, greedy=spec.greedy
            )
            return number
        turn = replace(outcome.info["turn"], tokens=episode.said)
        episode.trajectory = episode.trajectory.extended(turn)
        if outcome.done:
            finished = replace(
                outcome.info["trajectory"],
                turns=episode.trajectory.turns,
                prompt=episode.trajectory.prompt,
                sample=episode.trajectory.sample,
            )
            self._ended[number] = PlayedEpisode(episode.spec, finished)
            return None
        assert episode.conversation is not None
        assert episode.said is not None
        chat = self.generator.policy.chat
        if turn.observation is not None:
            episode.conversation.hear(chat.observation(turn.observation, episode.said.ids[-1]))
        return number

    def _failed(self, number: int, outcome: Outcome) -> None:
        episode = self._episodes[number]
        logger.warning("episode of %s failed: %s", episode.spec.source, outcome.error)
        self._ended[number] = PlayedEpisode(
            episode.spec, outcome.info.get("trajectory", episode.trajectory), outcome.error
        )

    def _read(self, due: Sequence[int]) -> Sequence[int]:
        """Let the policy read what some environments said, while others are not done yet; returns who it was."""
        began = time.perf_counter()
        self.generator.read(self._conversations(due))
        self.timers.generate += time.perf_counter() - began
        return due

    def _conversations(self, numbers: Sequence[int]) -> list[Conversation]:
        conversations = [self._episodes[number].conversation for number in numbers]
        return [each for each in conversations if each is not None]

    def _speak(self, due: Sequence[int]) -> None:
        """Let the policy write the next message of some episodes, and send each on its way."""
        if not due:
            return
        began, waited = time.perf_counter(), 0.0
        outbox: dict[int, Command] = {}
        numbers = {id(self._episodes[number].conversation): number for number in due}

        def spoken(conversation: Conversation, tokens: PolicyTokens) -> None:
            nonlocal waited
            number = numbers[id(conversation)]
            self._episodes[number].said = tokens
            outbox[number] = Step(self.generator.policy.chat.text(tokens.ids))
            if len(outbox) >= max(1, len(due) // FLUSH):
                waited += self._flush(outbox)

        self.generator.speak(self._conversations(due), spoken)
        waited += self._flush(outbox)
        self.timers.generate += time.perf_counter() - began - waited
        self.timers.wait += waited

    def _flush(self, outbox: dict[int, Command]) -> float:
        began = time.perf_counter()
        if outbox:
            self.env.send(dict(outbox))
            outbox.clear()
        return time.perf_counter() - began


def by_error(rollouts: Sequence[PlayedEpisode]) -> Mapping[str, int]:
    """Count failed episodes by their error."""
    counts: dict[str, int] = {}
    for rollout in rollouts:
        if rollout.error:
            counts[rollout.error] = counts.get(rollout.error, 0) + 1
    return counts
