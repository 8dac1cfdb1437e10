"""Addressing: which images the tools may be asked about, and how a call names one. One row of a table a model family.

Models differ in this as they do in coordinates, and nothing is guessed: a call that has to name an image and does not,
or names one that is not there, gets an error that lists the images. To add a family, register an ``Addressing``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from deepeyes_env.errors import ArgumentError, UsageError
from deepeyes_env.registry import Registry, unknown_name
from deepeyes_env.telling import quoted

Scope: TypeAlias = Literal["first", "question", "episode"]
"""``first``: the first image only. ``question``: the question's images. ``episode``: any image shown so far."""

Count: TypeAlias = Literal["together", "apart"]
"""Whether the images that tools return go on counting after the question's, or have a count of their own."""

BoxOn: TypeAlias = Literal["shown", "source"]
"""A box on a crop is written in the frame of the crop as shown, or in that of the question's image it was cut from."""

NUMBER = "{n}"
"""Stands in a name for the image's number."""

INDEX_NAMES = frozenset(
    {"img_idx", "img_index", "img_id", "image_idx", "image_index", "image_id", "image_number", "image", "source"}
)
"""Arguments by which models name an image; where the tools see the first one only, they are told so."""


@dataclass(frozen=True, slots=True)
class Addressing:
    """How the calls of a model family say which image they are about.

    Attributes:
        name: What the row is called.
        scope: Which images the tools may be asked about.
        argument: The argument of a call that names the image; empty for ``first``.
        start: The number of the first image, 0 or 1.
        count: How the images that tools return are counted.
        question: What the question's images are called; ``{n}`` stands for the number. Empty: the number itself. With
            several images, a name without it gets ``_{n}`` added.
        returned: The same for the images that tools return.
        box_on: In which frame a box on a crop is written.

    Raises:
        UnknownNameError: ``scope``, ``count`` or ``box_on`` is none.
        UsageError: There is no argument where the tools may be asked about several images, or one where they may not;
            ``start`` is neither 0 nor 1; the names of returned images are all the same.
    """

    name: str
    scope: Scope = "first"
    argument: str = ""
    start: int = 0
    count: Count = "together"
    question: str = ""
    returned: str = ""
    box_on: BoxOn = "shown"

    def __post_init__(self) -> None:
        for field, known in (("scope", Scope), ("count", Count), ("box_on", BoxOn)):
            if getattr(self, field) not in get_args(known):
                raise unknown_name(f"{field} of an addressing", getattr(self, field), get_args(known))
        if bool(self.argument) is (self.scope == "first"):
            raise UsageError(f"Addressing {self.name!r}: argument={self.argument!r} does not go with {self.scope!r}")
        if self.start not in (0, 1):
            raise UsageError(f"Addressing {self.name!r}: start={self.start!r}: must be 0 or 1")
        if bool(self.question) is not bool(self.returned) and self.scope == "episode":
            raise UsageError(f"Addressing {self.name!r}: give names to the images of both kinds, or to neither")
        if self.returned and NUMBER not in self.returned:
            raise UsageError(f"Addressing {self.name!r}: returned={self.returned!r}: must hold {NUMBER}")
        if self.scope == "episode" and not self.returned and self.count == "apart":
            raise UsageError(f"Addressing {self.name!r}: bare numbers cannot be counted apart; give names")

    def name_of(self, number: int, questions: int) -> int | str:
        """Return what a call names an image by: the value of the argument.

        Args:
            number: Its number among all images of the episode, from 0.
            questions: How many of them are the question's.
        """
        returned = number >= questions
        counted = self.start + number - (questions if returned and self.count == "apart" else 0)
        if not self.question:
            return counted
        written = self.returned if returned else self.question
        if NUMBER not in written and questions > 1:
            written += f"_{NUMBER}"
        return written.replace(NUMBER, str(counted))

    def title_of(self, number: int, questions: int) -> str:
        """Return what the prompt writes before an image."""
        name = self.name_of(number, questions)
        return name if isinstance(name, str) else f"Image {name}"

    def titled(self, text: str, placeholder: str) -> str:
        """Write its name before each image of a first message.

        Args:
            text: The message, with a placeholder per image.
            placeholder: What stands for an image.
        """
        written, *rest = text.split(placeholder)
        for number, after in enumerate(rest):
            between = "" if after or number + 1 == len(rest) else "\n"
            written += f"{self.title_of(number, len(rest))}: {placeholder}{after}{between}"
        return written

    def names(self, questions: int, shown: int) -> list[int | str]:
        """Return the names of all images that the tools may be asked about.

        Args:
            questions: How many images the question has.
            shown: How many images the episode has shown, these included.
        """
        most = {"first": 1, "question": questions, "episode": shown}[self.scope]
        return [self.name_of(number, questions) for number in range(most)]

    def find(self, written: Any, questions: int, shown: int) -> int:
        """Return the number of the image that a call names, among all images of the episode, from 0.

        Args:
            written: The value of the argument; ``None`` where the call has none.
            questions: How many images the question has.
            shown: How many images the episode has shown, these included.

        Raises:
            ArgumentError: There is no such image, or none is named and there are several.
        """
        names = self.names(questions, shown)
        if written is None and len(names) == 1:
            return 0
        if type(written) is float and written.is_integer():
            written = int(written)  # JSON has one kind of number
        if type(written) in (int, str) and written in names:
            return names.index(written)
        known = ", ".join(map(str, names)) if isinstance(names[0], str) else f"{names[0]} to {names[-1]}"
        if len(names) == 1:
            known = f"{names[0]} only"
        which = "the question's images are" if self.scope == "question" else "the images are"
        said = f"{self.argument} is missing" if written is None else f"{self.argument} {quoted(written)}: no such image"
        raise ArgumentError(f"{said}; {which} {known}")

    def parameter(self) -> dict[str, Any]:
        """Return the JSON schema of the argument."""
        of = "the question's images" if self.scope == "question" else "all images shown so far"
        if self.question:
            return {"type": "string", "description": f"The name of the image, as it is written before it; of {of}."}
        return {"type": "integer", "description": f"The number of the image; {of} are counted from {self.start}."}

    def schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Return the schema of a tool that is asked about an image, with the argument that names it."""
        function = schema["function"]
        parameters = function["parameters"]
        properties = {**parameters.get("properties", {}), self.argument: self.parameter()}
        required = [*parameters.get("required", ()), self.argument]
        parameters = {**parameters, "properties": properties, "required": required}
        return {**schema, "function": {**function, "parameters": parameters}}


def index_argument(arguments: Sequence[str]) -> str | None:
    """Return the argument of a call by which a model seems to name an image, if there is one."""
    return next((name for name in arguments if name in INDEX_NAMES), None)


ADDRESSINGS: Registry[Addressing] = Registry("addressing", of=Addressing)
"""Every addressing by name."""


def register_addressing(addressing: Addressing) -> Addressing:
    """Make an addressing known by its name.

    Raises:
        UsageError: One of the package has that name.
    """
    return ADDRESSINGS.register(addressing.name, addressing)


def get_addressing(addressing: str | Addressing) -> Addressing:
    """Look an addressing up by name.

    Raises:
        UnknownNameError: None has that name; the message has the nearest one.
    """
    return addressing if isinstance(addressing, Addressing) else ADDRESSINGS.get(addressing)


DEEPEYES = register_addressing(Addressing("deepeyes"))

for _row in (
    # Qwen3-VL's zoom counts the user's images alone, from 0; a deeper zoom is another box on the same image
    # (QwenLM/Qwen3-VL issue 1667; the tool's schema is in QwenLM/Qwen-Agent issue 879).
    Addressing("qwen3_vl", "question", "img_idx", box_on="source"),
    # Mini-o3 (arXiv 2509.07969) names its source: the original image, or an observation, with boxes on that very image.
    Addressing("mini_o3", "episode", "source", 1, "apart", "original_image", "observation_{n}"),
    # DeepEyesV2 (arXiv 2511.05271) calls images as its code does: image_1, image_2 ...
    Addressing("deepeyes_v2", "episode", "image", 1, "together", "image_{n}", "image_{n}"),
):
    register_addressing(_row)
ADDRESSINGS.protect()
