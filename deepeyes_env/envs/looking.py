"""How a policy writes that it wants to look closer: at which image, and with which box, as its toolbox has it."""

from __future__ import annotations

from typing import Any

from deepeyes_env.core import ToolCall, Trajectory
from deepeyes_env.envs.toolbox import toolbox_of
from deepeyes_env.errors import UsageError
from deepeyes_env.images.frames import BBox, Size, from_native, to_pixels
from deepeyes_env.images.regions import Region
from deepeyes_env.shown import Shown, question_image, shown_images


def image_argument(episode: Trajectory, number: int) -> dict[str, Any]:
    """Return the argument by which a call names an image; empty where calls name none.

    Args:
        episode: The episode.
        number: The image's number among all of the episode, from 0.
    """
    addressing = toolbox_of(episode).addressing
    return {addressing.argument: addressing.name_of(number, len(episode.prompt.images))} if addressing.argument else {}


def can_look_at(episode: Trajectory, image: int) -> bool:
    """Whether there is a tool that takes a box, and whether it may be asked about this image of the question."""
    toolbox = toolbox_of(episode)
    return toolbox.box_parameter is not None and (image == 0 or toolbox.addressing.scope != "first")


def written_on(episode: Trajectory, shown: Shown, box: BBox) -> BBox:
    """Write a box on an image in the frame in which the episode's toolbox takes it.

    Args:
        episode: The episode.
        shown: The image.
        box: ``(x1, y1, x2, y2)`` in native pixels of the image as it is held: of its region, if it has one.
    """
    region = shown.region
    if region is None:
        return from_native(box, episode.frame, shown.image.size, shown.image.size)
    if shown.call and toolbox_of(episode).addressing.box_on == "source":
        return written_on(episode, question_image(episode, region.image), region.to_source(box))
    native: Size = to_pixels((0, 0, *region.size))[2:]
    return from_native(box, episode.frame, native, shown.image.size)


def look_on(episode: Trajectory, shown: Shown, box: BBox, digits: int = 6) -> ToolCall:
    """Return the call that looks at a box on an image that the episode has shown.

    Args:
        episode: The episode.
        shown: The image.
        box: See ``written_on``.
        digits: Significant digits of the numbers.

    Raises:
        UsageError: No tool of the episode's toolbox takes a box.
    """
    toolbox = toolbox_of(episode)
    if toolbox.box_parameter is None:
        raise UsageError(
            f"toolbox {toolbox.name!r} has no tool that takes a box of four numbers; give one that has, or let "
            "the agent blind play it"
        )
    name, parameter = toolbox.box_parameter
    place = [float(f"{value:.{digits}g}") for value in written_on(episode, shown, box)]
    return ToolCall(name, {parameter: place, **image_argument(episode, shown.number)})


def look_at(episode: Trajectory, region: Region, digits: int = 6) -> ToolCall:
    """Return the call that looks at a part of one of the question's images; see ``look_on``.

    Where calls may name any image, it is about the last one that shows all of the part: a zoom into a zoom.
    """
    shown = question_image(episode, region.image)
    if toolbox_of(episode).addressing.scope == "episode":
        shown = [each for each in shown_images(episode) if _shows(each, region)][-1]
    assert shown.region is not None
    return look_on(episode, shown, shown.region.from_source(region.box), digits)


def _shows(shown: Shown, region: Region) -> bool:
    if not shown.call:
        return shown.number == region.image
    if shown.region is None or (box := shown.region.sees(region)) is None:
        return False
    width, height = shown.region.size
    return min(box[:2]) >= 0 and box[2] <= width and box[3] <= height
