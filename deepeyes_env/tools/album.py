"""Album: the images that the calls of an episode may name, and which one a call is about."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from deepeyes_env.addressing import Addressing
from deepeyes_env.core import ToolResult
from deepeyes_env.images.regions import Origin
from deepeyes_env.shown import Shown, numbered


class Album:
    """The images that an episode has shown so far, and the names that calls have for them.

    Args:
        addressing: How a call names an image.
        question: The question's images.

    Attributes:
        addressing: How a call names an image.
        shown: All images so far, in order.
        questions: How many of them are the question's.
    """

    def __init__(self, addressing: Addressing, question: Sequence[Shown]) -> None:
        self.addressing = addressing
        self.shown = list(question)
        self.questions = len(question)
        self._calls = 0

    def add(self, result: ToolResult) -> ToolResult:
        """Put in the images of the next call; returns the result with their names."""
        if result.images and self.addressing.scope == "episode":
            numbers = range(len(self.shown), len(self.shown) + len(result.images))
            origin = result.origin or Origin(regions=result.regions)
            result = replace(result, origin=replace(origin, names=tuple(map(self.title, numbers))))
        self.put((result,))
        return result

    def put(self, results: Iterable[ToolResult]) -> None:
        """Put in the images of the next calls, which have their names already."""
        made = tuple(results)
        self.shown += numbered(made, len(self.shown), self._calls + 1)
        self._calls += len(made)

    def title(self, number: int) -> str:
        """Return what stands before an image in what the policy reads."""
        return self.addressing.title_of(number, self.questions)

    def named(self, number: int) -> str:
        """Return how an error speaks of an image."""
        title = self.title(number)
        return "the image" if self.addressing.scope == "first" else title[0].lower() + title[1:]

    def straight(self, tilted: Shown) -> Shown:
        """Return the image that one was made of before it was turned by an odd angle."""
        while tilted.region is not None and tilted.region.tilted and tilted.parent is not None:
            tilted = self.shown[tilted.parent]
        return tilted

    def target(self, written: object, *, of_box: bool) -> Shown:
        """Return the image that a call is about.

        Args:
            written: What the call names it by; ``None`` where it names none.
            of_box: Whether the call has a box: that may be written on the image that a crop was cut from.

        Raises:
            deepeyes_env.errors.ArgumentError: There is no such image, or none is named and there are several.
        """
        target = self.shown[self.addressing.find(written, self.questions, len(self.shown))]
        if of_box and self.addressing.box_on == "source" and target.region is not None:
            return self.shown[target.region.image]
        return target
