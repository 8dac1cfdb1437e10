"""Phrases: the texts of the task, of the environment and of the policy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import gymnasium as gym

import deepeyes_env  # noqa: F401  (registers the environments)
from deepeyes_env.core import IMAGE_PLACEHOLDER, Message, Sample, Trajectory
from deepeyes_env.data.visual_search.marks import TEXTURES
from deepeyes_env.data.visual_search.names import built_in
from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.data.visual_search.several import ORDINALS
from deepeyes_env.envs.toolbox import get_toolbox
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.protocols import THINK, TOOL_CALL, TOOL_RESPONSE, V2
from deepeyes_env.trainers.tiny.task import TINY, TinyTask

TOO_SMALL = "The mark is too small, zoom in."
CAN_SEE = "I can see the mark on the "
CALL, LABEL, BOX, END = '{"name": "image_zoom_in_tool", "arguments": {', '"label": "', '", "bbox_2d": [', "]}}"
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

    def asked(self, colour: str, options: Sequence[str], views: Sequence[ImageRef], image: int = 0) -> Trajectory:
        """Return an episode that begins with the question about the square of a colour, in one of the images."""
        sample = self.opening.sample
        shown, _, _, instructions = self._lines()
        question = f"Which pattern is on the {called(colour, image, self.task)}?"
        choices = [f"({letter}) {option}" for letter, option in zip("ABCD", options, strict=True)]
        asked = Sample("example", question, options[0], tuple(views), tuple(options), data_source=sample.data_source)
        prompt = Message("\n".join([*shown, question, *choices, *instructions]), tuple(views))
        return Trajectory(asked, prompt, self.opening.system_prompt)

    def told_to_locate(self, colour: str, views: Sequence[ImageRef], image: int = 0) -> Trajectory:
        """Return a conversation that begins with the request to give the box of a square."""
        asked = Sample("example", "Locate", "", tuple(views))
        shown = self._lines()[0]
        prompt = Message("\n".join([*shown, locate(colour, image, self.task)]), tuple(views))
        return Trajectory(asked, prompt, self.opening.system_prompt)

    def fragments(self) -> list[str]:
        """Return the pieces of text that are one token each."""
        shown, _, options, instructions = self._lines()
        assert len(options) == len(TEXTURES)
        said = [self.opening.system_prompt, *instructions, self.reply.split(TOOL_RESPONSE.closing)[1]]
        titles = [title for title in (line.replace(IMAGE_PLACEHOLDER, "") for line in shown) if title]
        frame = ["Which pattern is on the ", " square?", " square.", " square", "\n(A) ", "\n(B) ", "\n(C) ", "\n(D) "]
        mine = [TOO_SMALL, CAN_SEE, *_call(self.task), ", ", LOCATE, "user\n", "assistant\n", "system\n"]
        numbers = [number for number in self.task.numbers if len(number) > 1]
        return [*said, *titles, *names(self.task), *frame, *mine, *COLOURS, *TEXTURES, *numbers]

    def _lines(self) -> tuple[list[str], str, list[str], list[str]]:
        """Return the lines of the prompt: those of images, the question, the options, the instructions."""
        lines, images = self.opening.prompt.text.split("\n"), self.task.images
        return lines[:images], lines[images], lines[images + 1 : images + 5], lines[images + 5 :]


@cache
def phrases(task: TinyTask = TINY) -> Phrases:
    """Play a zoom in the environment and keep the texts of its observations."""
    dataset = built_in(task.data, length=1, easy=0, size=task.size, view=task.view)
    env = gym.make(task.toolbox, dataset=dataset, frame=task.frame)
    _, info = env.reset(seed=0)
    opening: Trajectory = info["trajectory"]
    _, _, _, _, info = env.step(zoom("red", (10, 10, 60, 60), task))
    reply = info["turn"].observation
    assert reply.images, f"the environment refused a zoom: {reply.text}"
    return Phrases(opening, reply.text, task)


def called(colour: str, image: int | None = None, task: TinyTask = TINY) -> str:
    """Return what a square is called: with its image where there are several, and it is not the one shown last."""
    named = task.images > 1 and image is not None
    return f"{colour} square in the {ORDINALS[image or 0]} image" if named else f"{colour} square"


def names(task: TinyTask) -> dict[str, tuple[str, int]]:
    """Return what squares are called where there are several images, with colour and image of each."""
    images = range(task.images if task.images > 1 else 0)
    return {called(colour, image, task): (colour, image) for image in images for colour in COLOURS}


def locate(colour: str, image: int = 0, task: TinyTask = TINY) -> str:
    """Return the request for the box of a square."""
    return f"{LOCATE}{called(colour, image, task)}."


def box_of(colour: str, box: Box, task: TinyTask = TINY, image: int = 0) -> str:
    """Return the arguments of a zoom: what is there, and where; ``box`` is in pixels of the view."""
    label, *named, boxed, end = _call(task)
    index = f"{named[0]}{image}" if named else ""
    return f"{label}{called(colour, image, task)}{index}{boxed}{', '.join(task.written(box))}{end}"


def zoom(colour: str, box: Box, task: TinyTask = TINY, image: int = 0) -> str:
    """Return the message that zooms in."""
    return THINK.around(TOO_SMALL) + TOOL_CALL.around(box_of(colour, box, task, image))


def answer(colour: str, pattern: str, image: int | None = None, task: TinyTask = TINY) -> str:
    """Return the message that answers, from one of the question's images, or from what was shown last."""
    return V2.format_message(f"{CAN_SEE}{called(colour, image, task)}.", pattern)


def _call(task: TinyTask) -> tuple[str, ...]:
    """Return the pieces of a call; where it names an image, that comes after what is there: the two go together."""
    if task.images == 1:
        return (CALL + LABEL, BOX, END)
    argument = get_toolbox(task.toolbox).addressing.argument
    return (CALL + LABEL, f'", "{argument}": ', BOX[1:], END)
