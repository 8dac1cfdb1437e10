"""Examples: conversations to imitate, from runs and from data files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from deepeyes_env.agents.evaluation.scored import read_scored
from deepeyes_env.conversation import ChatMessage
from deepeyes_env.core import Message
from deepeyes_env.errors import UnexportableError, UsageError
from deepeyes_env.images import Image, ImageRef, ViewBudget
from deepeyes_env.images.frames import Size
from deepeyes_env.images.ops import fit
from deepeyes_env.trajectories.export import FORMATS, Conversation, Format, Selection, conversation_of
from deepeyes_env.trajectories.files import RECORDS

READERS = {".json": "messages", ".jsonl": "sharegpt", ".parquet": "huggingface"}
"""Formats of data files, by the ends of their names."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A message of the assistant's.

    Attributes:
        text: What it says, without what it was begun with.
        trainable: Whether it is to be imitated: not if a call in it failed.
        observation: What was said to it; ``None`` after the last one.
    """

    text: str
    trainable: bool = True
    observation: Message | None = None


@dataclass(frozen=True, slots=True)
class Example:
    """A conversation to imitate.

    Attributes:
        id: Names it in errors.
        prompt: The first message of the user.
        replies: What the assistant says, and what it is answered.
        system_prompt: May be empty.
    """

    id: str
    prompt: Message
    replies: tuple[Reply, ...]
    system_prompt: str = ""

    @property
    def images(self) -> tuple[ImageRef, ...]:
        """All images, in their order."""
        observations = (reply.observation for reply in self.replies)
        return tuple(image for each in (self.prompt, *observations) if each for image in each.images)


@dataclass(frozen=True, slots=True)
class Fitted:
    """The recipe of an image brought to a size; a ``Renderable``.

    Attributes:
        image: The image as it is.
        size: ``(width, height)`` in pixels.
    """

    image: ImageRef
    size: Size

    @property
    def key(self) -> str:
        """Text that determines the pixels."""
        return f"fitted to {self.size[0]} x {self.size[1]}: {self.image.digest}"

    def render(self) -> Image:
        """Decode and resize the image."""
        return fit(self.image.pixels(), self.size)


def read_examples(source: Path, selection: Selection, view: ViewBudget) -> Iterator[Example | str]:
    """Read what there is to imitate; yields the reason in place of what is left out.

    Args:
        source: A run folder or its file of trajectories; or a data file: messages of role and content (``.json``),
            ShareGPT (``.jsonl``), or parquet of ``deepeyes export``.
        selection: Which episodes of a run are imitated.
        view: Sizes in which images of data files are shown. Those of runs stay as they were: boxes were written on
            them.

    Raises:
        UsageError: There is no such run or file, a file of no known kind, or tools whose calls are no text.
        DataError: It cannot be read; the message says where.
    """
    if source.is_dir() or source.name == RECORDS:
        yield from _of_run(source, selection)
        return
    name = READERS.get(source.suffix)
    if name is None:
        known = ", ".join(READERS)
        raise UsageError(f"{source}: is no run folder, and no data file that ends in one of {known}")
    if not source.is_file():
        raise UsageError(f"{source}: there is no such file")
    format = FORMATS.get(name)
    assert isinstance(format, Format)
    assert format.read is not None
    for conversation in format.read(source):
        yield _fitted(example_of(conversation), view)


def _of_run(run: Path, selection: Selection) -> Iterator[Example | str]:
    for trajectory in read_scored(run):
        if reason := selection.reason_to_skip(trajectory):
            yield reason
            continue
        try:
            yield example_of(conversation_of(trajectory, "text"))
        except UnexportableError as error:
            yield str(error)


def example_of(conversation: Conversation) -> Example:
    """Make an example of a conversation whose calls are text.

    Raises:
        UsageError: Its calls stand beside the text.
    """
    if conversation.tools or any(message.role == "tool" or message.calls for message in conversation.messages):
        raise UsageError(
            f"conversation {conversation.id!r} has calls beside its text, and how a model writes those is its chat "
            "template's; export the run with --calls text"
        )
    first, *others = conversation.messages
    turns = conversation.trajectory.turns if conversation.trajectory else ()
    prefills = [turn.observation.prefill if turn.observation else "" for turn in turns]
    prefills += [""] * len(others)
    replies: list[Reply] = []
    for number, said in enumerate(others[::2]):
        begun = prefills[number - 1] if number else ""
        answered = others[2 * number + 1 : 2 * number + 2]
        observation = _message(answered[0], prefills[number]) if answered else None
        replies.append(Reply(said.text.removeprefix(begun), said.trainable, observation))
    return Example(conversation.id, _message(first), tuple(replies), conversation.system)


def _message(message: ChatMessage, prefill: str = "") -> Message:
    return Message(message.text, message.images, prefill)


def _fitted(example: Example, view: ViewBudget) -> Example:
    replies = (
        replace(reply, observation=reply.observation and _shown(reply.observation, view)) for reply in example.replies
    )
    return replace(example, prompt=_shown(example.prompt, view), replies=tuple(replies))


def _shown(message: Message, view: ViewBudget) -> Message:
    return replace(message, images=tuple(_fit(image, view.fit(image.size)) for image in message.images))


def _fit(image: ImageRef, size: Size) -> ImageRef:
    return image if image.size == size else ImageRef(Fitted(image, size), name=image.name)
