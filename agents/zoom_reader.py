"""ZoomReaderAgent: reads views and crops of ``code_search`` as an eye does, and computes nothing.

It is what a policy can do at best that zooms and writes no code: told where to look, it reads every pattern that stands
upright in a crop, counts the dots of a crop, and compares lengths by eye.
"""

from __future__ import annotations

from random import Random

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.agents.reader import read_pattern
from deepeyes_env.agents.scripted import ScriptedAgent, answering, guess, zooming
from deepeyes_env.core import Trajectory
from deepeyes_env.data.visual_search.scene import COLOURS
from deepeyes_env.data.visual_search.shapes import PLATE_DIAMETER
from deepeyes_env.envs.limits import DEFAULT_MAX_TURNS
from deepeyes_env.envs.looking import can_look_at
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import BBox
from deepeyes_env.images.regions import Region
from deepeyes_env.option_letters import letter_options

AT_A_GLANCE = 6
"""So many dots of a crop are counted exactly; more are estimated."""

SPREAD = 0.1
"""Standard deviation of an estimate by eye, of a number or of a length, as a share of it."""

_SLOWEST = 2
_NEAR = 60


class ZoomReaderAgent(ScriptedAgent):
    """Zooms to what is asked for, one call a message, and answers what it reads there; else it guesses.

    Dots are counted quarter by quarter: up to ``AT_A_GLANCE`` in a crop exactly, more with an error of ``SPREAD``. Bars
    are compared as the view shows them, the length of each with that error. A pattern is read as it stands in the crop
    of its plate. What stands in a document it cannot know.
    """

    name = "zoom_reader"

    def __init__(self, seed: int = 0, max_turns: int = DEFAULT_MAX_TURNS) -> None:
        super().__init__(seed, max_turns)

    def message(self, episode: Trajectory, random: Random) -> str:
        """Look at the next place, or answer."""
        places = self._places(episode)
        made = len(episode.turns)
        if made < len(places) and not self.must_answer(episode):
            return zooming(episode, Region(0, places[made]), 0.0)
        read = self._read(episode, random)
        if read is None:
            return answering(episode, guess(episode.sample, random), "I cannot tell; I guess.")
        return answering(episode, read, "I have read it.")

    def _places(self, episode: Trajectory) -> list[BBox]:
        """Return where to look: the plate of the object, or the quarters of the image."""
        sample, (width, height) = episode.sample, episode.native_size
        task = sample.metadata.get("task")
        if not can_look_at(episode, 0) or task in ("document", "length"):
            return []
        if task == "count":
            return [(x, y, x + width / 2, y + height / 2) for y in (0, height / 2) for x in (0, width / 2)]
        return [_inner(box) for box in sample.boxes]

    def _read(self, episode: Trajectory, random: Random) -> str | None:
        """Return the letter of the option that was read."""
        letters = letter_options(episode.sample.options)
        task = episode.sample.metadata.get("task")
        crops = [image.pixels() for turn in episode.turns if turn.observation for image in turn.observation.images]
        if task in ("count", "length"):
            seen = _counted(episode, crops, random) if task == "count" else _compared(episode, random)
            return min(letters, key=lambda option: abs(float(option[1]) - seen))[0]
        found = {read_pattern(crop, _SLOWEST) for crop in crops}
        return next((letter for letter, text in letters if text in found), None)


def _counted(episode: Trajectory, crops: list[Image], random: Random) -> float:
    """Return how many dots of the colour that the question names first are seen."""
    colour = _named(episode)[0]
    numbers = [_pieces(_mask(crop, colour)) for crop in crops]
    return sum(number if number <= AT_A_GLANCE else number * random.gauss(1, SPREAD) for number in numbers)


def _compared(episode: Trajectory, random: Random) -> float:
    """Return how many times as long as the bar that the question names first the other one looks."""
    view = episode.prompt.images[0].pixels()
    shorter, longer = (_length(_mask(view, colour)) * random.gauss(1, SPREAD) for colour in _named(episode))
    return longer / max(shorter, 1.0)


def _named(episode: Trajectory) -> list[str]:
    return [word for word in episode.sample.question.split() if word in COLOURS]


def _inner(box: BBox) -> BBox:
    """Return the plate on an object."""
    x, y, half = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, PLATE_DIAMETER * (box[2] - box[0]) / 2
    return (x - half, y - half, x + half, y + half)


def _mask(pixels: Image, colour: str) -> NDArray[np.bool_]:
    near: NDArray[np.bool_] = np.abs(pixels.astype(np.int16) - np.array(COLOURS[colour])).max(-1) < _NEAR
    return near


def _length(mask: NDArray[np.bool_]) -> float:
    rows, columns = np.nonzero(mask)
    return float(np.hypot(np.ptp(rows), np.ptp(columns))) if len(rows) else 0.0


def _pieces(mask: NDArray[np.bool_]) -> int:
    """Return how many parts there are that do not touch."""
    numbers = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:
        padded = np.pad(numbers, 1)
        beside = [padded[1 + down : padded.shape[0] - 1 + down, 1 + right : padded.shape[1] - 1 + right]
                  for down in (-1, 0, 1) for right in (-1, 0, 1)]  # fmt: skip
        largest = np.where(mask, np.maximum.reduce(beside), 0)
        if np.array_equal(largest, numbers):
            return len(np.unique(numbers[mask]))
        numbers = largest
