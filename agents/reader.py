"""ReaderAgent: reads the pattern on an object from the pixels that it was shown, and knows nothing else of it.

The oracle answers from the sample, whatever it was shown, so that no look of it ever matters. This one is told where to
look, and has to read: for proofs that a call which mattered is told from one that did not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.agents.scripted import ScriptedAgent, answering, guess, padded, zooming
from deepeyes_env.core import Trajectory, Turn
from deepeyes_env.data.visual_search.marks import TEXTURES
from deepeyes_env.envs.limits import DEFAULT_MAX_TURNS
from deepeyes_env.images.codec import Image
from deepeyes_env.images.frames import BBox, from_native, iou
from deepeyes_env.images.ops import crop, fit
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.regions import Region
from deepeyes_env.option_letters import letter_options
from deepeyes_env.registry import unknown_name

Look: TypeAlias = Literal["true", "elsewhere", "other"]
"""Where to look: at the object that the question asks for, where nothing of it is, or at another object."""

LOOKS: tuple[Look, ...] = get_args(Look)

MARGIN = 0.1
"""Share of a box's sides that is added to them."""

_GREY = 30
"""Most that the colours of a pixel of the plate differ by, in grey levels."""

_SLOWEST = 9
"""Waves over a crop that are fewer are its light and shade."""

_FAINTEST = 60.0
"""Least strength of a pattern: one that is hidden from the view has less than 45 in it, and 80 or more in a crop."""

_ENLARGED = (224, 224)
"""Size at which a part of the view is read."""

_ANGLES = (90.0, 0.0, 45.0, 135.0)
"""Directions of the waves of horizontal, vertical and both diagonal stripes, in degrees."""


class ReaderAgent(ScriptedAgent):
    """Looks where it is told to, one call a message, then answers with the pattern that it read last, or guesses.

    It plays the task ``attribute`` of the built-in data set and reads only the crops of objects; where a crop is blank,
    or shows no pattern, it guesses among the options.

    Args:
        seed: See ``ScriptedAgent``.
        max_turns: See ``ScriptedAgent``; looks for which no message is left are not made.
        looks: Where it looks, in order; see ``Look``.

    Raises:
        UnknownNameError: A look is none of these.
    """

    name = "reader"

    def __init__(self, seed: int = 0, max_turns: int = DEFAULT_MAX_TURNS, looks: Sequence[Look] = ("true",)) -> None:
        super().__init__(seed, max_turns)
        for look in looks:
            if look not in LOOKS:
                raise unknown_name("look", look, LOOKS)
        self.looks = tuple(looks)
        self.about = {"looks": list(self.looks)}

    def message(self, episode: Trajectory, random: Random) -> str:
        """Make the next look, or answer."""
        made = len(episode.turns)
        if episode.toolbox and made < len(self.looks) and not self.must_answer(episode):
            return zooming(episode, Region(0, self._place(episode, self.looks[made], random)), MARGIN)
        said = {text: letter for letter, text in letter_options(episode.sample.options)}
        pattern = self._pattern(episode)
        if pattern in said:
            return answering(episode, said[pattern], "I have read it.")
        return answering(episode, guess(episode.sample, random), "I could not read it; I guess.")

    def _pattern(self, episode: Trajectory) -> str | None:
        """Return the pattern that was read last; in the image itself if it was not looked at closer."""
        found = None
        if not episode.turns:
            found = read_pattern(_cut_from_view(episode))
        for look, turn in zip(self.looks, episode.turns, strict=False):
            if look != "elsewhere":
                found = next((read for image in _images(turn) if (read := _read(image))), found)
        return found

    def _place(self, episode: Trajectory, look: Look, random: Random) -> BBox:
        true = episode.sample.boxes[0]
        objects = [tuple(map(float, box)) for box in episode.sample.metadata.get("objects", {}).values()]
        others: list[Any] = [box for box in objects if iou(box, true) == 0]  # type: ignore[arg-type]
        if look == "true":
            return true
        if look == "other" and others:
            place: BBox = random.choice(others)
            return place
        width, height = episode.native_size
        w, h = true[2] - true[0], true[3] - true[1]
        corners = [(random.uniform(0, width - w), random.uniform(0, height - h)) for _ in range(32)]
        places = [(x, y, x + w, y + h) for x, y in corners]
        return min(places, key=lambda each: iou(each, padded(true, episode.native_size, MARGIN)))


def read_pattern(pixels: Image, slowest: int = _SLOWEST) -> str | None:
    """Return the pattern that a crop of an object shows, one of ``TEXTURES``; ``None`` if it shows none.

    The direction of the strongest waves on its grey plate tells it, by a Fourier transform.

    Args:
        pixels: ``(H, W, 3)`` ``uint8``.
        slowest: Waves over the crop that are fewer are its light and shade.
    """
    masks = _masks(pixels.shape[0], pixels.shape[1], slowest)
    red, green, blue = (pixels[..., channel].astype(np.float32) for channel in range(3))
    colourful = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    plate = masks.inside & (colourful < _GREY)
    if not plate.any():
        return None
    grey = (red + green + blue) / 3
    waves = np.where(plate, grey - grey[plate].mean(), 0.0) * masks.window
    power = np.abs(np.fft.fft2(waves)) ** 2 * masks.fast
    if np.sqrt(power.sum()) < _FAINTEST * (masks.window * plate).sum():
        return None
    horizontal, vertical, rising, falling = (float(power[sector].sum()) for sector in masks.sectors)
    crossed = 2 * min(rising, falling) > max(rising, falling) and rising + falling > max(horizontal, vertical)
    if crossed:
        return TEXTURES[3]
    return TEXTURES[int(np.argmax([horizontal, vertical, max(rising, falling)]))]


@dataclass(frozen=True)
class _Masks:
    """What the reading of crops of one size has in common, each ``(H, W)``.

    Attributes:
        inside: The disc that a plate may fill.
        window: Weights that fall off to the sides.
        fast: The waves that are none of light and shade.
        sectors: The waves in each of the directions of ``_ANGLES``.
    """

    inside: NDArray[Any]
    window: NDArray[Any]
    fast: NDArray[Any]
    sectors: tuple[NDArray[Any], ...]


@lru_cache(maxsize=32)
def _masks(height: int, width: int, slowest: int) -> _Masks:
    rows, columns = np.mgrid[:height, :width]
    inside = np.hypot(2 * columns / width - 1, 2 * rows / height - 1) < 0.9
    window = np.hanning(height)[:, None] * np.hanning(width)[None]
    down, right = np.meshgrid(np.fft.fftfreq(height) * height, np.fft.fftfreq(width) * width, indexing="ij")
    angle = np.degrees(np.arctan2(down, right)) % 180
    apart = (np.abs(angle - each) for each in _ANGLES)
    sectors = tuple(np.minimum(each, 180 - each) < 15 for each in apart)
    return _Masks(inside, window, np.hypot(down, right) >= slowest, sectors)


@lru_cache(maxsize=256)
def _read(image: ImageRef) -> str | None:
    """Read a crop; many episodes go on from the same one."""
    return read_pattern(image.pixels())


def _images(turn: Turn) -> tuple[ImageRef, ...]:
    return turn.observation.images if turn.observation else ()


def _cut_from_view(episode: Trajectory) -> Image:
    """Return the object that is asked for as the view shows it, enlarged as a crop would be."""
    view = episode.prompt.images[0].pixels()
    box = from_native(
        padded(episode.sample.boxes[0], episode.native_size, MARGIN), "view", episode.native_size, episode.view_size
    )
    x1, y1, x2, y2 = (int(side) for side in box)
    return fit(crop(view, (x1, y1, max(x2, x1 + 1), max(y2, y1 + 1))), _ENLARGED, "exact")
