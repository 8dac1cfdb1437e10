"""A running episode as the body of a chat completions request.

The body is made of pieces: an image's URL, which is nearly all of it, is one piece that all requests share. Nothing of
its size is copied, escaped or scanned again when a conversation goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias

from deepeyes_env.agents.openai.data_urls import DataUrls, original_or_view
from deepeyes_env.conversation import content_parts, envelope, messages_of, with_images_in_user_messages
from deepeyes_env.core import Message, Trajectory
from deepeyes_env.envs.toolbox import toolbox_of
from deepeyes_env.images.frames import area
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.protocols import neutral

Place: TypeAlias = Literal["tool", "user"]
"""Where the images of tool messages go: into the message itself, or into a user message that follows."""

ServerMessage: TypeAlias = dict[str, Any]
"""An OpenAI-style message; its content is a text, or a list of texts and ``ImageRef``."""

OWN_SIZE = 0.8
"""A crop with at least this share of its box's pixels is in about its own size: sides are rounded to whole tokens."""


def messages_for_server(episode: Trajectory, place: Place = "tool") -> list[ServerMessage]:
    """Write a running episode as the messages of a request.

    Text protocols go as text: what the environment says is a user message. Native tool calls become assistant messages
    with ``tool_calls`` and one tool message for each. The question's images go out in their own bytes where the view
    shows them in their own size.

    Args:
        episode: The conversation; the next message is the agent's.
        place: Where the images of tool messages go.
    """
    told = messages_of(replace(episode, prompt=_opening(episode)))
    if place == "user":
        told = with_images_in_user_messages(told)
    return [
        {**envelope(message), "content": content_parts(message) if message.images else neutral(message.text)}
        for message in told
    ]


def body_of(
    settings: Mapping[str, Any], messages: Sequence[ServerMessage], url: Callable[[ImageRef], bytes]
) -> RequestBody:
    """Write a request as JSON.

    Args:
        settings: All of it but the messages.
        messages: The messages.
        url: Writes an image as a URL.
    """
    return RequestBody(_joined(_json_of(settings, messages, url)), has_stop="stop" in settings)


class RequestBody:
    """The body of a request in pieces, to be sent as often as need be.

    Attributes:
        pieces: The pieces.
        has_stop: Whether stop strings are sent.
    """

    def __init__(self, pieces: Sequence[bytes], *, has_stop: bool = False) -> None:
        self.pieces = pieces
        self.has_stop = has_stop

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)

    async def __aiter__(self) -> Any:
        for piece in self.pieces:
            yield piece


def urls_of(episode: Trajectory, urls: DataUrls) -> Callable[[ImageRef], bytes]:
    """Return what writes the images of a conversation as URLs: crops with no finer colours than their image has.

    Args:
        episode: The conversation.
        urls: Where images are encoded and kept.
    """
    cutting = toolbox_of(episode).cropping_tools
    crops = {
        id(image): region.image
        for result in episode.results
        for image, region in zip(result.images, result.regions, strict=False)
        if result.call.name in cutting and region and image.size[0] * image.size[1] >= OWN_SIZE * area(region.box)
    }
    return lambda image: urls(image, episode.sample.images[crops[id(image)]] if id(image) in crops else None)


def _opening(episode: Trajectory) -> Message:
    views, originals = episode.prompt.images, episode.sample.images
    if len(views) != len(originals):
        return episode.prompt
    images = tuple(original_or_view(original, view) for original, view in zip(originals, views, strict=True))
    return Message(episode.prompt.text, images)


def _json_of(
    settings: Mapping[str, Any], messages: Sequence[ServerMessage], url: Callable[[ImageRef], bytes]
) -> Iterator[bytes]:
    yield _dumps(dict(settings))[:-1] + b',"messages":['
    for number, message in enumerate(messages):
        rest = {name: value for name, value in message.items() if name != "content"}
        yield (b"," if number else b"") + _dumps(rest)[:-1] + b',"content":'
        content = message["content"]
        if isinstance(content, str):
            yield _dumps(content) + b"}"
            continue
        for place, part in enumerate(content):
            yield b"," if place else b"["
            if isinstance(part, str):
                yield _dumps({"type": "text", "text": part})
                continue
            yield b'{"type":"image_url","image_url":{"url":"'
            yield url(part)
            yield b'"}}'
        yield b"]}"
    yield b"]}"


def _joined(pieces: Iterator[bytes], small: int = 2**14) -> list[bytes]:
    """Join small pieces: each piece costs a system call."""
    joined: list[bytes] = []
    waiting: list[bytes] = []
    for piece in pieces:
        if len(piece) > small:
            joined += [b"".join(waiting), piece]
            waiting.clear()
        else:
            waiting.append(piece)
    return [piece for piece in [*joined, b"".join(waiting)] if piece]


def _dumps(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")
