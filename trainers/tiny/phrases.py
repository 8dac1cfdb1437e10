"""Phrases: the texts of the task, of the environment and of the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import gymnasium as gym

import deepeyes_env  # noqa: F401  (registers the environments)
from deepeyes_env.core import IMAGE_PLACEHOLDER, Message, Sample, Trajectory
from deepeyes_env.data.visual_search.marks import TEXTURES
from deepeyes_env.data.visual_search.patterns import pattern_search
from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.protocols import THINK, TOOL_CALL, TOOL_RESPONSE, V2
from deepeyes_env.trainers.tiny.task import TINY, TinyTask

TOO_SMALL = "The mark is too small, zoom in."
CAN_SEE = "I can see the mark on the "
CALL = '{"name": "image_zoom_in_tool", "arguments": {"label": "', '", "bbox_2d": [', "]}}"
LOCATE = "Locate the "

Box = Sequence[float]


@dataclass(frozen=True, slots=True)
class Phrases:
    """What the environment says, taken from an episode of it.

    Attributes:
        opening: An episode before its first turn; its prompt is the pattern for all others.
        reply: What the environment answers to a zoom, with a placeholder for the crop.
        task: The scenes, and how boxes are written.
    """

    opening: Trajectory
    reply: str
    task: TinyTask

    def asked(self, colour: str, options: Sequence[str], view: ImageRef) -> Trajectory:
        """Return an episode that begins with the question about the square of a colour."""
        sample = self.opening.sample
        lines = self.opening.prompt.text.split("\n")
        lines[1] = f"Which pattern is on the {colour} square?"
        lines[2:6] = [f"({letter}) {option}" for letter, option in zip("ABCD", options, strict=True)]
        asked = Sample("example", lines[1], options[0], (view,), tuple(options), data_source=sample.data_source)
        return Trajectory(asked, Message("\n".join(lines), (view,)), self.opening.system_prompt)

    def told_to_locate(self, colour: str, view: ImageRef) -> Trajectory:
        """Return a conversation that begins with the request to give the box of a square."""
        asked = Sample("example", "Locate", "", (view,))
        return Trajectory(asked, Message(f"{IMAGE_PLACEHOLDER}\n{locate(colour)}", (view,)), self.opening.system_prompt)

    def fragments(self) -> list[str]:
        """Return the pieces of text that are one token each."""
        _, *options, instructions = self.opening.prompt.text.split("\n")[1:]
        assert len(options) == len(TEXTURES)
        said = [self.opening.system_prompt, instructions, self.reply.split(TOOL_RESPONSE.closing)[1]]
        frame = ["Which pattern is on the ", " square?", " square.", " square", "\n(A) ", "\n(B) ", "\n(C) ", "\n(D) "]
        mine = [TOO_SMALL, CAN_SEE, *CALL, ", ", LOCATE, "user\n", "assistant\n", "system\n"]
        return [*said, *frame, *mine, *COLOURS, *TEXTURES, *(number for number in self.task.numbers if len(number) > 1)]


@cache
def phrases(task: TinyTask = TINY) -> Phrases:
    """Play a zoom in the environment and keep the texts of its observations."""
    dataset = pattern_search(length=1, easy=0, size=task.size, view=task.view)
    env = gym.make("VisualToolbox-v2", dataset=dataset, frame=task.frame)
    _, info = env.reset(seed=0)
    opening: Trajectory = info["trajectory"]
    _, _, _, _, info = env.step(zoom("red", (10, 10, 60, 60), task))
    reply = info["turn"].observation
    assert reply.images, f"the environment refused a zoom: {reply.text}"
    return Phrases(opening, reply.text, task)


def locate(colour: str) -> str:
    """Return the request for the box of a square."""
    return f"{LOCATE}{colour} square."


def box_of(colour: str, box: Box, task: TinyTask = TINY) -> str:
    """Return the arguments of a zoom: what is there, and where; ``box`` is in pixels of the view."""
    return f"{CALL[0]}{colour} square{CALL[1]}{', '.join(task.written(box))}{CALL[2]}"


def zoom(colour: str, box: Box, task: TinyTask = TINY) -> str:
    """Return the message that zooms in."""
    return THINK.around(TOO_SMALL) + TOOL_CALL.around(box_of(colour, box, task))


def answer(colour: str, pattern: str) -> str:
    """Return the message that answers."""
    return V2.format_message(f"{CAN_SEE}{colour} square.", pattern)
