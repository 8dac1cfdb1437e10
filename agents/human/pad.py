"""Which images a person can draw a box on, how the box is then written, and which boxes are to be seen on an image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from deepeyes_env.core import Trajectory
from deepeyes_env.envs.looking import can_look_at, image_argument, written_on
from deepeyes_env.envs.toolbox import toolbox_of
from deepeyes_env.images.frames import BBox, frame_size, to_pixels
from deepeyes_env.images.regions import Region
from deepeyes_env.shown import Shown, question_image


@dataclass(frozen=True, slots=True)
class Pad:
    """An image as something to draw boxes on.

    Attributes:
        region: What the image spans in the coordinates in which a box on it is written.
        extent: The largest such coordinates.
        decimals: How many decimals they need so that the last digit is no more than a native pixel.
        address: The argument by which a call then names the image; empty where calls name none.
    """

    region: BBox
    extent: tuple[float, float]
    decimals: int
    address: Mapping[str, Any]


def pad_of(episode: Trajectory, shown: Shown) -> Pad | None:
    """Return how boxes on an image are written; ``None`` where none can be.

    A box goes on the image itself where the tools may be asked about it. Where they may not, it goes on the question's
    image that a crop was cut from, unless the crop is turned: then no upright box would look like what was drawn.
    """
    addressing = toolbox_of(episode).addressing
    region = shown.region
    if region is not None and region.tilted:
        return None
    itself = addressing.scope == "episode" and addressing.box_on == "shown"
    if not shown.call:
        itself = can_look_at(episode, shown.number)
    if itself:
        return _whole(episode, shown)
    if region is None or not region.upright or not can_look_at(episode, region.image):
        return None
    source = question_image(episode, region.image)
    on_source = _whole(episode, source)
    span = written_on(episode, source, region.box)
    return Pad(span, on_source.extent, on_source.decimals, on_source.address)


def _whole(episode: Trajectory, shown: Shown) -> Pad:
    size = shown.image.size
    native = size if shown.region is None else to_pixels((0, 0, *shown.region.size))[2:]
    width, height = extent = frame_size(episode.frame, native, size)
    decimals = max(0, math.ceil(math.log10(max(native[0] / width, native[1] / height)) - 1e-9))
    return Pad((0, 0, width, height), extent, decimals, image_argument(episode, shown.number))


def marks_on(episode: Trajectory, shown: Shown, *, truths: bool) -> Iterator[dict[str, Any]]:
    """Yield the boxes to be seen on an image: those of calls, and the ground truth once it may be known.

    Args:
        episode: The episode.
        shown: The image.
        truths: Whether the ground truth may be known.

    Yields:
        ``{"box", "kind", "call"}``: the box in fractions of the image's sides; what it is; the number of its call.
    """
    for number, result in enumerate(episode.results, start=1):
        if result.look is not None and number != shown.call:
            yield from _mark(shown, result.look, {"kind": "used", "call": number})
    if truths:
        for truth in episode.sample.regions:
            yield from _mark(shown, truth, {"kind": "truth", "call": 0})


def _mark(shown: Shown, look: Region, facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    region = shown.region
    if region is not None and (box := region.sees(look)) is not None:
        (x1, y1, x2, y2), (width, height) = box, region.size
        yield {"box": (x1 / width, y1 / height, x2 / width, y2 / height), **facts}
