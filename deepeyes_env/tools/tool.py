"""Tool: something a policy can ask the environment to do, described to it by a JSON schema."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, TypeAlias, get_type_hints, overload

from PIL import Image as PILImage

from deepeyes_env.core import Sample
from deepeyes_env.errors import UsageTypeError
from deepeyes_env.fast_init import fast_init
from deepeyes_env.images import Image, ImageLike, ImageRef
from deepeyes_env.images.frames import BBox, is_finite_box
from deepeyes_env.images.regions import Region
from deepeyes_env.tools.context import ToolContext
from deepeyes_env.tools.signature import ToolSignature, box_parameters

ToolReturn: TypeAlias = "ToolOutput | str | ImageLike | list[str | ImageLike] | tuple[str | ImageLike, ...]"
"""What a tool may return: text, an image, or several of them in a list."""


@fast_init
@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What a tool gives back.

    Attributes:
        text: Text for the policy; may be empty.
        images: Images for the policy, at whatever size; the environment fits them to its view budget.
        box: The box that was really used, in pixels of ``ToolContext.image``, if not the one the policy wrote.
        regions: What part of which of the question's images each image is, as ``ToolContext.part`` and
            ``ToolContext.region`` say it; ``None`` for one that is none. Left out, all of them are drawings, or what
            the box holds if the tool returns crops.
    """

    text: str = ""
    images: tuple[ImageRef, ...] = ()
    box: BBox | None = None
    regions: tuple[Region | None, ...] = ()


class Tool:
    """Base class of tools.

    A subclass defines ``__call__`` with type hints and a docstring: the JSON schema that the policy reads comes from
    them. Parameters annotated ``Image``, ``tuple[Image, ...]`` or ``ToolContext`` are filled in by the environment; all
    others are written by the policy, and are validated before the call. ``Image`` is the image that the call is about,
    see ``ToolContext``; ``tuple[Image, ...]`` are all of the question's. A parameter annotated ``BBox`` arrives in
    whole pixels of that image, clamped to it, whatever frame the policy writes in.

    A tool that keeps state over the turns of an episode overrides ``open`` and ``close``; give its class, not
    an instance, to a toolbox, so that every environment has its own.

    Attributes:
        name: The name that the policy calls; defaults to the class name.
        stateful: Whether calls depend on earlier calls of the same episode. Set by overriding ``open``.
        runs_in_place: Whether it is known to return soon: it runs in the thread of its environment, without a time
            limit. Not inherited.
    """

    name: str = ""
    runs_in_place: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "name" not in cls.__dict__ and not cls.name:
            cls.name = cls.__name__
        if "runs_in_place" not in cls.__dict__:
            cls.runs_in_place = False  # what is derived from a tool may do anything
        call = cls.__dict__.get("__call__")
        if call is not None:
            # A class of a notebook travels by value, without the names that its hints are written in.
            with suppress(Exception):  # ``signature`` says what is wrong with a hint
                call.__annotations__ = get_type_hints(call, include_extras=True)

    def __call__(self, *args: Any, **kwargs: Any) -> ToolReturn:
        """Do it. Subclasses give this a typed signature and a docstring.

        Raises:
            ToolError: The arguments make no sense; the message is shown to the policy.
        """
        raise NotImplementedError(f"tool {self.name!r} does not define __call__")

    def open(self, sample: Sample) -> None:
        """Begin an episode."""

    def close(self) -> None:
        """End an episode; called once for each ``open``."""

    @property
    def stateful(self) -> bool:
        """Whether the tool keeps state over the turns of an episode."""
        return type(self).open is not Tool.open

    @property
    def returns_crops(self) -> bool:
        """Whether all it returns is what its box holds, pixel by pixel; another tool may draw."""
        return False

    @property
    def is_about_an_image(self) -> bool:
        """Whether a call is about one image: then it names the image, where a toolbox lets it choose.

        So it is where the tool takes an ``Image`` or a ``BBox``; a tool that takes the image of its ``ToolContext``
        says so by overriding this.
        """
        return self.signature.is_about_an_image

    @cached_property
    def takes_box(self) -> bool:
        """Whether a call has a box."""
        return bool(box_parameters(self.schema["function"]))

    @cached_property
    def own_arguments(self) -> frozenset[str]:
        """The arguments that the tool itself takes."""
        return frozenset(self.schema["function"]["parameters"].get("properties", ()))

    @cached_property
    def signature(self) -> ToolSignature:
        """The validated parameters of this tool."""
        return ToolSignature(self.__call__, name=self.name)

    @property
    def schema(self) -> dict[str, Any]:
        """The tool as OpenAI-style JSON: ``{"type": "function", "function": {name, description, parameters}}``."""
        return {
            "type": "function",
            "function": {
                "name": self.name,
                "description": self.signature.description,
                "parameters": self.signature.parameters,
            },
        }

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Validate the policy's arguments, call the tool and bring its result into one form.

        Raises:
            ArgumentError: The arguments do not fit the signature, or a box does not fit the image.
            ToolError: The tool refused.
        """
        bound = self.signature.bind(arguments, context)
        output = as_output(self(**bound.values), self.name)
        if output.box is None and bound.box is not None:
            return replace(output, box=bound.box)
        return output

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"


class FunctionTool(Tool):
    """A tool made of a function by ``tool``."""

    def __init__(self, function: Callable[..., ToolReturn], name: str) -> None:
        self.function = function
        self.name = name
        self.__doc__ = function.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> ToolReturn:
        """Call the function."""
        return self.function(*args, **kwargs)

    @cached_property
    def signature(self) -> ToolSignature:
        """The validated parameters of the function."""
        return ToolSignature(self.function, name=self.name)

    def __getstate__(self) -> dict[str, Any]:
        """Let the function be found by name: ``@tool`` has put this tool in its place, so it is found in this tool."""
        found: Any = sys.modules.get(self.function.__module__)
        name = self.function.__qualname__
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is self:
            self.function.__qualname__ = f"{name}.function"
        return self.__dict__


@overload
def tool(function: Callable[..., ToolReturn], /) -> FunctionTool: ...
@overload
def tool(*, name: str) -> Callable[[Callable[..., ToolReturn]], FunctionTool]: ...
def tool(function: Callable[..., ToolReturn] | None = None, /, *, name: str = "") -> Any:
    """Make a tool of a typed function; its docstring is what the policy reads.

    Args:
        function: A function with type hints and a docstring. See ``Tool`` for the parameters it may have.
        name: The name that the policy calls; the function's own by default.

    Raises:
        UsageTypeError: A parameter has no type hint, or there is no docstring.

    Example:
        >>> @tool
        ... def image_flip_tool(image: Image, axis: Literal["horizontal", "vertical"]) -> Image:
        ...     "Mirror the image along an axis."
        ...     return image[:, ::-1] if axis == "horizontal" else image[::-1]
    """
    if function is None:
        return lambda decorated: tool_from(decorated, name or decorated.__name__)
    return tool_from(function, function.__name__)


def tool_from(function: Callable[..., ToolReturn], name: str) -> FunctionTool:
    """Make a ``FunctionTool`` and check its signature at once."""
    made = FunctionTool(function, name)
    _ = made.signature
    return made


def as_output(returned: ToolReturn, name: str) -> ToolOutput:
    """Bring what a tool returned into one form.

    Raises:
        UsageTypeError: Something is neither text nor an image; nothing at all (``None``) is neither, too.
    """
    if isinstance(returned, ToolOutput):
        return returned
    if isinstance(returned, str):
        return ToolOutput(text=returned)
    parts = returned if isinstance(returned, list | tuple) else [returned]
    texts = [part for part in parts if isinstance(part, str)]
    images = tuple(_image(part, name) for part in parts if not isinstance(part, str))
    return ToolOutput(text="\n".join(texts), images=images)


def checked_output(returned: Any, name: str) -> ToolOutput:
    """Bring what a tool returned into one form, and see that it can be shown and recorded.

    Raises:
        UsageTypeError: Something is neither text nor an image, or a box is not four finite numbers with x1 < x2 and
            y1 < y2.
    """
    output = as_output(returned, name)
    if not isinstance(output.text, str):
        raise UsageTypeError(f"ToolOutput: text is {type(output.text).__name__}, not str")
    if not isinstance(output.images, tuple) or not all(isinstance(image, ImageRef) for image in output.images):
        raise UsageTypeError(f"ToolOutput: images is {output.images!r:.80}, not a tuple of ImageRef")
    if len(output.regions) not in (0, len(output.images)) or not all(
        region is None or isinstance(region, Region) for region in output.regions
    ):
        raise UsageTypeError(f"ToolOutput: regions is {output.regions!r:.80}, not a Region or None for each image")
    return output if output.box is None else replace(output, box=_checked_box(output.box))


def _checked_box(box: Any) -> BBox:
    try:
        x1, y1, x2, y2 = (x if type(x) in (int, float) else float(x) for x in box)
    except (TypeError, ValueError) as error:
        raise UsageTypeError(f"ToolOutput: box {box!r:.80} is not four numbers") from error
    if isinstance(box, str) or not is_finite_box((x1, y1, x2, y2)) or x1 >= x2 or y1 >= y2:
        raise UsageTypeError(f"ToolOutput: box {box!r:.80} is not four finite numbers with x1 < x2 and y1 < y2")
    return (x1, y1, x2, y2)


def _image(part: Any, name: str) -> ImageRef:
    if isinstance(part, ImageRef | PILImage.Image | bytes) or hasattr(part, "__array__"):
        return ImageRef.of(part)
    raise UsageTypeError(f"tool {name!r} returned {type(part).__name__}; return text, an image, or a list of them")


__all__ = ["BBox", "FunctionTool", "Image", "Tool", "ToolContext", "ToolOutput", "ToolReturn", "as_output", "tool"]
