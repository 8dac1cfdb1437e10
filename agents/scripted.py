"""Agents that know the ground truth or ignore the image, and write what they do in the toolbox's own protocol.

They draw from a generator seeded by the agent's seed, the episode's seed, the sample and the turn. So what they say
depends neither on the order of episodes nor on which ones are played at the same time.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import ClassVar

from deepeyes_env.agents.agent import Reply
from deepeyes_env.core import SOLUTION, Sample, ToolCall, Trajectory
from deepeyes_env.data.benchmarks.refcoco import REFCOCO
from deepeyes_env.envs.limits import DEFAULT_MAX_TURNS
from deepeyes_env.envs.looking import can_look_at, look_at, written_on
from deepeyes_env.envs.toolbox import toolbox_of
from deepeyes_env.equal_options import right_options
from deepeyes_env.errors import UsageError
from deepeyes_env.images.box_sides import MIN_ZOOM_SIDE
from deepeyes_env.images.frames import BBox, Size
from deepeyes_env.images.regions import Region
from deepeyes_env.judges.text import key, polarity
from deepeyes_env.option_letters import letter_options, option_letter
from deepeyes_env.shown import question_image

MAX_ZOOM_RATIO = 50
"""A long side of this many short sides is well within the 100 that tools accept."""


class ScriptedAgent(ABC):
    """Base of the agents that follow a script.

    Args:
        seed: Seed of all that the agent draws.
        max_turns: The agent answers at the latest in its message of this number; the environment's own limit.

    Raises:
        UsageError: ``max_turns`` is less than 1.
    """

    name: ClassVar[str]

    def __init__(self, seed: int = 0, max_turns: int = DEFAULT_MAX_TURNS) -> None:
        if max_turns < 1:
            raise UsageError(f"max_turns={max_turns}: must be at least 1")
        self.seed = seed
        self.max_turns = max_turns

    def act(self, episodes: Sequence[Trajectory]) -> list[Reply]:
        """Return the next message of each episode."""
        return [Reply(self.message(episode, self._random(episode)), finish_reason="stop") for episode in episodes]

    @abstractmethod
    def message(self, episode: Trajectory, random: Random) -> str:
        """Return the next message of an episode, with all that is drawn drawn from ``random``."""

    def must_answer(self, episode: Trajectory) -> bool:
        """Whether the next message is the last one that the agent may write."""
        return len(episode.turns) + 1 >= self.max_turns

    def _random(self, episode: Trajectory) -> Random:
        key = (self.seed, episode.metadata.get("seed"), episode.sample.id, len(episode.turns))
        return Random(repr(key))


class BlindAgent(ScriptedAgent):
    """Answers at once without looking: a uniformly random option. Its accuracy is chance."""

    name = "blind"

    def message(self, episode: Trajectory, random: Random) -> str:
        """Answer."""
        return answering(episode, guess(episode.sample, random), "I do not look; I guess.")


class OracleAgent(ScriptedAgent):
    """Makes the calls that find the answer out, or zooms to each ground-truth box; then gives the right answer.

    One call a message. The calls are the sample's ``metadata["solution"]``, where the toolbox has the tools for them.
    It answers at once where there are neither these nor boxes that a tool takes, and stops when a call fails.

    Args:
        seed: Not used; all agents have one.
        max_turns: See ``ScriptedAgent``; boxes for which no message is left are not looked at.
        margin: Share of a box's sides that is added to them.
    """

    name = "oracle"

    def __init__(self, seed: int = 0, max_turns: int = DEFAULT_MAX_TURNS, margin: float = 0.1) -> None:
        super().__init__(seed, max_turns)
        self.margin = margin

    def message(self, episode: Trajectory, random: Random) -> str:
        """Zoom to the next box; answer when all are seen."""
        made = len(episode.turns)
        failed = not all(result.ok for result in episode.results)
        calls = solution(episode)
        places = () if calls else self.places(episode)
        if made >= max(len(calls), len(places)) or failed or self.must_answer(episode):
            return answering(episode, right_answer(episode), "I have seen enough.")
        if calls:
            return toolbox_of(episode).protocol.format_message("I find it out.", calls[made])
        return zooming(episode, places[made], self.margin)

    def places(self, episode: Trajectory) -> tuple[Region, ...]:
        """Return the parts of images to look at: the ground truth, as far as a tool takes a box on the image."""
        return tuple(place for place in episode.sample.regions if can_look_at(episode, place.image))


class NoisyAgent(OracleAgent):
    """An oracle with a shaky hand: misplaced boxes, malformed calls that it writes again, wrong answers.

    Args:
        noise: From 0 (the oracle) to 1. A box is moved by a normal deviate of ``noise`` of its sides and scaled by the
            exponential of another; a call is malformed with probability ``noise / 2``; the answer is a guess with
            probability ``noise``.
        seed: See ``ScriptedAgent``.
        max_turns: See ``ScriptedAgent``.
        margin: See ``OracleAgent``.

    Raises:
        UsageError: ``noise`` is not between 0 and 1.
    """

    name = "noisy"

    def __init__(
        self, noise: float = 0.3, seed: int = 0, max_turns: int = DEFAULT_MAX_TURNS, margin: float = 0.1
    ) -> None:
        super().__init__(seed, max_turns, margin)
        if not 0 <= noise <= 1:
            raise UsageError(f"noise={noise}: must be between 0 and 1")
        self.noise = noise

    def message(self, episode: Trajectory, random: Random) -> str:
        """Zoom to the next box or its neighbourhood; answer when all are seen."""
        sample, places = episode.sample, self.places(episode)
        looked = sum(any(result.ok for result in turn.results) for turn in episode.turns)
        if looked >= len(places) or self.must_answer(episode):
            answer = guess(sample, random) if random.random() < self.noise else right_answer(episode)
            return answering(episode, answer, "I think I have seen enough.")
        message = zooming(episode, self._shaken(places[looked], random), self.margin)
        return message.replace("{", "", 1) if random.random() < self.noise / 2 else message

    def _shaken(self, place: Region, random: Random) -> Region:
        box = place.box
        width, height = box[2] - box[0], box[3] - box[1]
        x = (box[0] + box[2]) / 2 + random.gauss(0, self.noise) * width
        y = (box[1] + box[3]) / 2 + random.gauss(0, self.noise) * height
        half = math.exp(random.gauss(0, self.noise)) / 2
        return replace(place, box=(x - width * half, y - height * half, x + width * half, y + height * half))


def solution(episode: Trajectory) -> tuple[ToolCall, ...]:
    """Return the calls that find the answer out; none where the toolbox lacks a tool for one, or they are not known."""
    given = episode.sample.metadata.get(SOLUTION, ())
    calls = tuple(ToolCall(call["name"], call["arguments"]) for call in given)
    if not calls or not episode.toolbox:
        return ()
    tools = {schema["function"]["name"] for schema in toolbox_of(episode).schemas}
    return calls if tools.issuperset(call.name for call in calls) else ()


def right_answer(episode: Trajectory) -> str:
    """Return the letter of the right option, or the answer; the box of an expression in the episode's frame."""
    sample = episode.sample
    if sample.data_source == REFCOCO and sample.boxes:
        truth = sample.regions[0]
        box = written_on(episode, question_image(episode, truth.image), truth.box)
        return json.dumps([float(f"{value:.6g}") for value in box])
    right = right_options(sample.options, sample.answer, sample.metadata)
    return option_letter(right[0]) if right else sample.answer


def guess(sample: Sample, random: Random) -> str:
    """Return the letter of a uniformly random option; else yes or no where one of them is right, or ``unknown``."""
    said = [letter for letter, _ in letter_options(sample.options)]
    if not said and polarity(key(sample.answer)):
        said = ["yes", "no"]
    return random.choice(said) if said else "unknown"


def answering(episode: Trajectory, answer: str, thought: str) -> str:
    r"""Write a message that answers, in the episode's protocol, and in ``\boxed{}`` if the prompt speaks of it."""
    if "\\boxed" in episode.system_prompt or "\\boxed" in episode.prompt.text:
        answer = f"\\boxed{{{answer}}}"
    return toolbox_of(episode).protocol.format_message(thought, answer)


def zooming(episode: Trajectory, place: Region, margin: float) -> str:
    """Write a message that zooms to a part of an image, in the episode's protocol and coordinate frame.

    Raises:
        UsageError: No tool of the episode's toolbox takes a box.
    """
    size = episode.sample.images[place.image].size
    call = look_at(episode, replace(place, box=padded(place.box, size, margin)))
    thought = f"I look closer at place {len(episode.turns) + 1}."
    return toolbox_of(episode).protocol.format_message(thought, call)


def padded(box: BBox, size: Size, margin: float) -> BBox:
    """Grow a box by ``margin`` of its sides and to a size that tools accept, then shift and clip it to the image.

    Args:
        box: ``(x1, y1, x2, y2)`` in native pixels.
        size: ``(width, height)`` of the image in pixels.
        margin: Share of each side that is added to it, half at either end.
    """
    width, height = (box[2] - box[0]) * (1 + margin), (box[3] - box[1]) * (1 + margin)
    shortest = max(MIN_ZOOM_SIDE, max(width, height) / MAX_ZOOM_RATIO)
    x1, x2 = _span((box[0] + box[2]) / 2, max(width, shortest), size[0])
    y1, y2 = _span((box[1] + box[3]) / 2, max(height, shortest), size[1])
    return (x1, y1, x2, y2)


def _span(centre: float, length: float, limit: int) -> tuple[float, float]:
    length = min(length, limit)
    low = min(max(0.0, centre - length / 2), limit - length)
    return low, low + length
