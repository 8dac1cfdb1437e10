"""Select a frame: look at another moment of a video."""

from __future__ import annotations

import math

from deepeyes_env.errors import ArgumentError
from deepeyes_env.images import ImageRef
from deepeyes_env.images.regions import Region
from deepeyes_env.images.sources.videos import Frame
from deepeyes_env.tools.context import ToolContext
from deepeyes_env.tools.tool import Tool, ToolOutput


class SelectFrameTool(Tool):
    """Show another frame of the video that the image is a frame of.

    In a toolbox whose calls name any image of the episode, a zoom into the frame is cut from its native pixels.
    """

    name = "select_frame"
    runs_in_place = True

    def __call__(self, context: ToolContext, time: float | None = None, index: int | None = None) -> ToolOutput:
        """Look at another frame of the video.

        Args:
            context: The episode's images.
            time: Seconds since the beginning of the video.
            index: Number of the frame, from 0; give either time or index.
        """
        region = context.region
        source = context.refs[region.image].source if region is not None else None
        if region is None or not isinstance(source, Frame):
            raise ArgumentError("the image is not of a video; name one that is")
        if (time is None) == (index is None):
            raise ArgumentError("give either time, in seconds, or index, from 0")
        if (time is not None and not (math.isfinite(time) and time >= 0)) or (index is not None and index < 0):
            raise ArgumentError(f"the video begins at 0; {'time' if index is None else 'index'} must not be less")
        frame = source.at(time) if time is not None else source.numbered(index or 0)
        if source.duration and frame.seconds > source.duration:
            raise ArgumentError(f"the video is {source.duration:g} s long; name an earlier moment")
        whole = Region(region.image, (0, 0, *source.size), moment=frame.seconds)
        return ToolOutput(text=f"At {frame.seconds:.3f} s.", images=(ImageRef(frame),), regions=(whole,))

    @property
    def is_about_an_image(self) -> bool:
        """It is: the one of its context."""
        return True
