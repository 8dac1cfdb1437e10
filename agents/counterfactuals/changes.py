"""Changes of one recorded call: its result blanked, swapped, moved, or the call dropped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Literal, TypeAlias, get_args

import numpy as np

from deepeyes_env.core import Message, ToolResult, Trajectory, Turn
from deepeyes_env.envs.toolbox import toolbox_of
from deepeyes_env.images import ImageRef
from deepeyes_env.images.frames import BBox, PixelBox, Size, iou
from deepeyes_env.images.ops import crop, fit
from deepeyes_env.images.regions import Origin, Region
from deepeyes_env.images.store import shared_store
from deepeyes_env.protocols.tagged import response_text

Change: TypeAlias = Literal["as_was", "blank", "swapped", "moved", "dropped"]
"""How an episode goes on from a recorded call.

``as_was``: with its result. ``blank``: every image of the result is grey, its text empty. ``swapped``: the result is
that of a call about another sample. ``moved``: the image shows a region of the same size elsewhere. ``dropped``: the
call and its result are gone; the policy may well make it again.
"""

CHANGES: tuple[Change, ...] = get_args(Change)

GREY = 127
"""The grey level of a blank image."""

_TRIES = 32
"""How many places for a moved region are looked at."""


@dataclass(frozen=True, slots=True)
class CallPlace:
    """Where a call stands in its episode.

    Attributes:
        turn: Which turn, from 0.
        position: Which result of that turn, from 0.
        image: Which image of the turn's observation is the result's first.
    """

    turn: int
    position: int
    image: int


def places_of(trajectory: Trajectory) -> list[CallPlace]:
    """Return where each call of an episode stands, in their order."""
    places = []
    for number, turn in enumerate(trajectory.turns):
        image = 0
        for position, result in enumerate(turn.results):
            places.append(CallPlace(number, position, image))
            image += len(result.images)
    return places


def possible_changes(trajectory: Trajectory, call: int) -> tuple[Change, ...]:
    """Return how a recorded call can be changed.

    None after which the policy was not asked again: the episode ended there. A result that is an error can only be left
    as it was, or dropped with its call.
    """
    place = places_of(trajectory)[call]
    turn = trajectory.turns[place.turn]
    if turn.observation is None or place.turn + 1 >= len(trajectory.turns):
        return ()
    result = turn.results[place.position]
    named: list[Change] = ["as_was"]
    if result.ok and (result.images or result.text):
        named += ["blank", "swapped"]
    if _movable(result, trajectory):
        named.append("moved")
    if len(turn.results) == 1 or _without(turn, place, trajectory) is not None:
        named.append("dropped")
    return tuple(named)


def before(trajectory: Trajectory, call: int, change: Change, other: ToolResult | None, seed: int) -> Trajectory:
    """Return a recorded episode up to where the policy goes on from a changed call.

    Images of the changed result have the sizes of the real ones, and all of them are pixels, as a tool's are.

    Args:
        trajectory: The episode.
        call: Which call.
        change: How it is changed; one of ``possible_changes``.
        other: Result of a call about another sample, for ``swapped``.
        seed: Decides where a moved region lies.
    """
    place = places_of(trajectory)[call]
    kept, turn = trajectory.turns[: place.turn], trajectory.turns[place.turn]
    if change != "dropped":
        result = turn.results[place.position]
        turns: tuple[Turn, ...] = (*kept, _with_result(turn, place, _changed(result, trajectory, change, other, seed)))
    else:
        rest = _without(turn, place, trajectory) if len(turn.results) > 1 else None
        turns = kept if rest is None else (*kept, rest)
    return replace(trajectory, turns=tuple(map(_live, turns)))


def _changed(
    result: ToolResult, trajectory: Trajectory, change: Change, other: ToolResult | None, seed: int
) -> ToolResult:
    sizes = [image.size for image in result.images]
    if change == "blank":
        return replace(result, images=tuple(map(_blank, sizes)), text="", origin=_of_no_image(result))
    if change == "swapped":
        theirs = list(other.images) if other else []
        images = [_fitted(theirs[i % len(theirs)], size) if theirs else _blank(size) for i, size in enumerate(sizes)]
        return replace(result, images=tuple(images), text=other.text if other else "", origin=_of_no_image(result))
    if change == "moved" and result.box is not None:
        box = elsewhere(Region(result.source, result.box), trajectory, seed)
        pixels = crop(shared_store().pixels(trajectory.sample.images[result.source]), box)
        x1, y1, x2, y2 = box
        place = Region(result.source, (x1, y1, x2, y2))
        origin = result.origin and replace(result.origin, regions=(place,))
        return replace(result, images=(_fitted(ImageRef(pixels), sizes[0]),), box=place.box, origin=origin)
    return result


def _of_no_image(result: ToolResult) -> Origin:
    """Return the origin of images that are no part of the question's: a zoom into them must not show real pixels."""
    return replace(result.origin or Origin(), regions=(None,) * len(result.images))


def _movable(result: ToolResult, trajectory: Trajectory) -> bool:
    """Whether a result is one upright part of an image, and another part of the same size lies elsewhere."""
    regions = result.regions
    if not result.ok or len(regions) != 1 or regions[0] is None or not regions[0].upright or result.box is None:
        return False
    return _fits_elsewhere(result.box, trajectory.sample.images[result.source].size)


def elsewhere(place: Region, trajectory: Trajectory, seed: int) -> PixelBox:
    """Return a box of the same size in another place: of some drawn, that which least overlaps it and the true ones."""
    box = place.box
    width, height = trajectory.sample.images[place.image].size
    x1, y1, x2, y2 = map(round, box)
    w, h = x2 - x1, y2 - y1
    random = Random(f"{seed} {trajectory.sample.id} {box}")
    corners = [(random.randint(0, width - w), random.randint(0, height - h)) for _ in range(_TRIES)]
    boxes = [(x, y, x + w, y + h) for x, y in corners]
    avoided = [box, *(truth.box for truth in trajectory.sample.regions if truth.image == place.image)]
    return min(boxes, key=lambda each: max(iou(each, other) for other in avoided))


def _fits_elsewhere(box: BBox, size: Size) -> bool:
    """Whether a region of the same size can lie so that it shares less than half of its pixels with the first."""
    free_x, free_y = size[0] - (box[2] - box[0]), size[1] - (box[3] - box[1])
    away_x, away_y = max(box[0], free_x - box[0]), max(box[1], free_y - box[1])
    return min(free_x, free_y) >= 0 and (2 * away_x >= box[2] - box[0] or 2 * away_y >= box[3] - box[1])


def _blank(size: Size) -> ImageRef:
    return ImageRef.of(np.full((size[1], size[0], 3), GREY, np.uint8))


def _fitted(image: ImageRef, size: Size) -> ImageRef:
    pixels = image.pixels()
    return ImageRef.of(pixels if image.size == size else fit(pixels, size, "exact"))


def _with_result(turn: Turn, place: CallPlace, result: ToolResult) -> Turn:
    was = turn.results[place.position]
    results = (*turn.results[: place.position], result, *turn.results[place.position + 1 :])
    said = turn.observation or Message("")
    images = (*said.images[: place.image], *result.images, *said.images[place.image + len(was.images) :])
    text = said.text
    if (told := response_text(was)) != response_text(result):
        earlier = sum(len(response_text(each)) for each in turn.results[: place.position])
        at = text.find(told, earlier) if told else -1
        text = text if at < 0 else text[:at] + response_text(result) + text[at + len(told) :]
    return replace(turn, results=results, observation=replace(said, text=text, images=images))


def _without(turn: Turn, place: CallPlace, trajectory: Trajectory) -> Turn | None:
    """Return a turn of several calls without one of them; ``None`` where its text cannot be written anew."""
    protocol = toolbox_of(trajectory).protocol
    count = len(turn.results) + turn.skipped
    said, written = protocol.split_calls(turn.action, count)
    if (
        turn.observation is None
        or len(written) != count
        or protocol.reply(turn.results, turn.skipped) != turn.observation.text
    ):
        return None
    first = count - len(turn.results) if getattr(protocol, "keep", "first") == "last" else 0
    left = [text for number, text in enumerate(written) if number != first + place.position]
    action = said + "\n".join(protocol.tags[0].around(text) for text in left)
    results = (*turn.results[: place.position], *turn.results[place.position + 1 :])
    images: Sequence[ImageRef] = [image for result in results for image in result.images]
    reply = replace(turn.observation, text=protocol.reply(results, turn.skipped), images=tuple(images))
    return replace(turn, action=action, results=results, observation=reply, tokens=None)


def _live(turn: Turn) -> Turn:
    """Return a turn whose images are pixels: those read from a record are files, which a server would be sent."""
    results = tuple(replace(result, images=tuple(map(_pixels, result.images))) for result in turn.results)
    if turn.observation is None:
        return replace(turn, results=results)
    images = tuple(image for result in results for image in result.images)
    if len(images) != len(turn.observation.images):
        images = tuple(map(_pixels, turn.observation.images))
    return replace(turn, results=results, observation=replace(turn.observation, images=images))


def _pixels(image: ImageRef) -> ImageRef:
    return ImageRef(shared_store().pixels(image)) if image.is_encoded else image
