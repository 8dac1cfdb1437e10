"""The tool ``image_search``: pages with images like the question's."""

from __future__ import annotations

from functools import cache
from typing import Any

from deepeyes_env.errors import ToolError
from deepeyes_env.images import ImageRef
from deepeyes_env.images.least_size import at_least
from deepeyes_env.tools.context import ToolContext
from deepeyes_env.tools.text_search import searched_by_default
from deepeyes_env.tools.tool import Tool, ToolOutput

IMAGE_SEARCH_VARIABLE = "DEEPEYES_IMAGE_SEARCH"
"""Environment variable: what is searched where nothing else is said; a folder of images, or a cache file."""


class ImageSearchTool(Tool):
    """Searches for images like the first one of the question; at most ten are shown.

    Args:
        search: A folder of images, a file in MMSearch-R1's form, or an ``ImageSearch``; by default what the variable
            ``DEEPEYES_IMAGE_SEARCH`` says. Where that says nothing either, a call is told so.

    Raises:
        UsageError: The folder holds no images.
        DataError: The file has another form.
        UsageTypeError: ``search`` is none of the three.
    """

    name = "image_search"

    def __init__(self, search: Any = None) -> None:
        self._search = None if search is None else _searched(search)

    def __call__(self, context: ToolContext) -> ToolOutput:
        """Search the web for images like the question's first image; titles and images come back."""
        from deepeyes_env.tools.search.images import image_search_observation
        from deepeyes_env.tools.search.results import MAX_RESULTS

        search = self._search or _by_default(searched_by_default(self.name, IMAGE_SEARCH_VARIABLE))
        if context.sample is None:
            raise ToolError("there is no question to search for")
        hits = search.search(context.sample, context.store.pixels(context.refs[0]))
        images = tuple(ImageRef(at_least(hit.image.pixels())) for hit in hits[:MAX_RESULTS])
        return ToolOutput(text=image_search_observation(hits), images=images)


def _searched(search: Any) -> Any:
    from deepeyes_env.tools.search.images import get_image_search

    return get_image_search(search)


@cache
def _by_default(search: str) -> Any:
    return _searched(search)
