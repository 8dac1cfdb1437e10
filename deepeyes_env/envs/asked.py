"""Which image a call is about: what a policy wrote, and the context in which its tool then runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from deepeyes_env.addressing import index_argument
from deepeyes_env.errors import ArgumentError
from deepeyes_env.images.frames import BBox
from deepeyes_env.images.regions import Origin
from deepeyes_env.tools import Tool, ToolContext, ToolOutput
from deepeyes_env.tools.album import Album


def asked_about(
    tool: Tool, arguments: Mapping[str, Any], context: ToolContext, album: Album
) -> tuple[Mapping[str, Any], ToolContext]:
    """Take the argument that names an image out of a call, and return the context of that image.

    A tool that is about no image, or that has an argument of that name itself, is left alone.

    Raises:
        ArgumentError: There is no such image; or none is named and there are several; or one is named where the tools
            see the first one only.
    """
    if not tool.is_about_an_image:
        return arguments, context
    addressing = album.addressing
    if addressing.scope == "first":
        named = index_argument([name for name in arguments if name not in tool.own_arguments])
        if named is not None:
            raise ArgumentError(f"there is no argument {named!r}: the tools see the first image only; leave it out")
        return arguments, context
    if addressing.argument in tool.own_arguments:
        return arguments, context
    target = album.target(arguments.get(addressing.argument), of_box=tool.takes_box)
    rest = {name: value for name, value in arguments.items() if name != addressing.argument}
    return rest, context.about(target)


def origin_of(output: ToolOutput, context: ToolContext, *, crops: bool) -> tuple[Origin | None, BBox | None]:
    """Return what a call was about and what its images show, and its box in native pixels of the question's image.

    Args:
        output: What the tool gave back.
        context: The image that it was about.
        crops: Whether all its images are what its box holds.
    """
    count, box = len(output.images), output.box
    regions = output.regions or (context.part(box) if crops and box is not None else None,) * count
    target = context.target
    if target is None:
        return (Origin(regions=regions) if count else None), box
    source = context.region.image if context.region else 0
    place = context.part(box) if box is not None else None
    return Origin(target.number, source, regions), place.box if place else None
