"""The images of an episode as they were shown, and what part of which of the question's images each of them is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from deepeyes_env.core import ToolResult, Trajectory
from deepeyes_env.images.frames import BBox
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.images.regions import Region


@dataclass(frozen=True, slots=True)
class Shown:
    """An image that the policy has seen.

    Attributes:
        image: The image as shown.
        number: Its number among all images of the episode, from 0: the question's, then what tools returned.
        region: What part of which of the question's images it is; ``None`` if it is none (a plot, a drawing).
        call: Number of the call that returned it, from 1; 0 for an image of the question.
        parent: Number of the image that this call was about; ``None`` for an image of the question.
        name: What calls name it, where tools named it.
    """

    image: ImageRef
    number: int
    region: Region | None = None
    call: int = 0
    parent: int | None = None
    name: str = ""


def shown_images(episode: Trajectory) -> tuple[Shown, ...]:
    """Return every image that an episode has shown, in order."""
    question = (question_image(episode, number) for number in range(len(episode.prompt.images)))
    return (*question, *numbered(episode.results, len(episode.prompt.images)))


def question_image(episode: Trajectory, number: int) -> Shown:
    """Return an image of an episode's question as it was shown."""
    size = episode.sample.images[number].size if number or not all(episode.native_size) else episode.native_size
    return Shown(episode.prompt.images[number], number, Region.whole(number, size))


def question_images(views: Sequence[ImageRef], originals: Sequence[ImageRef]) -> tuple[Shown, ...]:
    """Return the images of a question as they are shown."""
    pairs = enumerate(zip(views, originals, strict=False))
    return tuple(Shown(view, number, Region.whole(number, original.size)) for number, (view, original) in pairs)


def numbered(results: Iterable[ToolResult], number: int, call: int = 1) -> Iterator[Shown]:
    """Yield the images of results, in order.

    Args:
        results: The results of consecutive calls.
        number: Number of the first image.
        call: Number of the first call.
    """
    for call, result in enumerate(results, start=call):  # noqa: B020
        names = result.names or ("",) * len(result.images)
        for image, region, name in zip(result.images, result.regions, names, strict=False):
            yield Shown(image, number, region, call, result.about, name)
            number += 1


def looks_on(episode: Trajectory, shown: Shown) -> dict[int, BBox]:
    """Return the boxes of calls to be drawn on an image, by the number of the call.

    On an image of the question these are all that lie on it, however deep they were written; on an image of a tool,
    those of the calls about it.

    Returns:
        Boxes in native pixels of the image's region as it is held.
    """
    if shown.region is None:
        return {}
    looks = {
        call: result.look
        for call, result in enumerate(episode.results, start=1)
        if not shown.call or result.about == shown.number
    }
    return {call: box for call, look in looks.items() if look and (box := shown.region.sees(look)) is not None}
