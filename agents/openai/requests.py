"""A running episode as the body of a chat completions request.

The body is made of pieces: an image's URL, which is nearly all of it, is one piece that all requests share. Nothing of
its size is copied, escaped or scanned again when a conversation goes on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

from deepeyes_env.agents.openai.data_urls import DataUrls, original_or_view
from deepeyes_env.core import IMAGE_PLACEHOLDER, Message, ToolResult, Trajectory, Turn
from deepeyes_env.envs.toolbox import PLAIN, Toolbox, get_toolbox
from deepeyes_env.images.frames import area
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.protocols import NativeProtocol, neutral
from deepeyes_env.protocols.native import RETURNED, result_texts, without_images
from deepeyes_env.protocols.scan import find_json_spans
from deepeyes_env.strict_json import plain, read_json
from deepeyes_env.tools.zoom import ImagePathZoomTool, ZoomTool

Place: TypeAlias = Literal["tool", "user"]
"""Where the images of tool messages go: into the message itself, or into a user message that follows."""

ChatMessage: TypeAlias = dict[str, Any]
"""An OpenAI-style message; its content is a text, or a list of texts and ``ImageRef``."""

OWN_SIZE = 0.8
"""A crop with at least this share of its box's pixels is in about its own size: sides are rounded to whole tokens."""

_CUTTING = (ZoomTool, ImagePathZoomTool)
"""Tools known to return pixels of the first image as they are; others may draw on them, or cut elsewhere."""


def messages_of(episode: Trajectory, place: Place = "tool") -> list[ChatMessage]:
    """Write a running episode as chat messages.

    Text protocols go as text: what the environment says is a user message. Native tool calls become assistant messages
    with ``tool_calls`` and one tool message for each.

    Args:
        episode: The conversation; the next message is the agent's.
        place: Where the images of tool messages go.
    """
    messages: list[ChatMessage] = []
    if episode.system_prompt:
        messages.append({"role": "system", "content": neutral(episode.system_prompt)})
    messages.append({"role": "user", "content": _content(_opening(episode))})
    native = is_native(toolbox_named(episode.toolbox))
    for number, turn in enumerate(episode.turns):
        if native and turn.results:
            messages += _native_turn(turn, number, place)
            continue
        messages.append({"role": "assistant", "content": neutral(turn.action)})
        if turn.observation is not None:
            messages.append({"role": "user", "content": _content(turn.observation)})
    return messages


def body_of(
    settings: Mapping[str, Any], messages: Sequence[ChatMessage], url: Callable[[ImageRef], bytes]
) -> RequestBody:
    """Write a request as JSON.

    Args:
        settings: All of it but the messages.
        messages: The messages.
        url: Writes an image as a URL.
    """
    return RequestBody(_joined(_json_of(settings, messages, url)))


class RequestBody:
    """The body of a request in pieces, to be sent as often as need be.

    Attributes:
        pieces: The pieces.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = pieces

    def __len__(self) -> int:
        return sum(map(len, self.pieces))

    def __bytes__(self) -> bytes:
        return b"".join(self.pieces)

    async def __aiter__(self) -> Any:
        for piece in self.pieces:
            yield piece


def urls_of(episode: Trajectory, urls: DataUrls) -> Callable[[ImageRef], bytes]:
    """Return what writes the images of a conversation as URLs: crops with no finer colours than the first image has.

    Args:
        episode: The conversation.
        urls: Where images are encoded and kept.
    """
    tools = toolbox_named(episode.toolbox).make_tools()
    cutting = {name for name, tool in tools.items() if type(tool) in _CUTTING}
    crops = {
        id(image)
        for turn in episode.turns
        for result in turn.results
        for image in result.images
        if result.call.name in cutting and result.box and image.size[0] * image.size[1] >= OWN_SIZE * area(result.box)
    }
    return lambda image: urls(image, episode.sample.images[0] if id(image) in crops else None)


def toolbox_named(name: str) -> Toolbox:
    """Return a toolbox by name; without a name the one of ordinary questions."""
    return get_toolbox(name) if name else PLAIN


def is_native(toolbox: Toolbox) -> bool:
    """Whether calls travel beside the text: the environment does not explain the tools, the endpoint has to."""
    return isinstance(toolbox.protocol, NativeProtocol)


def tool_schemas(toolbox: Toolbox) -> list[dict[str, Any]]:
    """Return the OpenAI-style schemas of a toolbox."""
    return [tool.schema for tool in toolbox.make_tools().values()]


def _opening(episode: Trajectory) -> Message:
    views, originals = episode.prompt.images, episode.sample.images
    if len(views) != len(originals):
        return episode.prompt
    images = tuple(original_or_view(original, view) for original, view in zip(originals, views, strict=True))
    return Message(episode.prompt.text, images)


def _content(message: Message) -> str | list[str | ImageRef]:
    """Put the images where their placeholders are; a message without images is plain text, which every server takes."""
    if not message.images:
        return neutral(message.text)
    return _interleaved(message.text, message.images)


def _interleaved(text: str, images: Sequence[ImageRef]) -> list[str | ImageRef]:
    pieces = text.split(IMAGE_PLACEHOLDER, len(images))
    parts: list[str | ImageRef] = [neutral(pieces[0])]
    for image, piece in zip(images, pieces[1:], strict=True):
        parts += [image, neutral(piece)]
    return [part for part in parts if part != ""]


def _native_turn(turn: Turn, number: int, place: Place) -> Iterator[ChatMessage]:
    made = len(turn.results) + turn.skipped
    spans = find_json_spans(turn.action, "<tool_call>", "</tool_call>")[-made:]  # a thought may mention earlier ones
    # A mark that a thought only mentions seems to open the call behind it.
    start = turn.action.rfind("<tool_call>", spans[0].start, spans[0].outer) if spans else len(turn.action)
    said = turn.action[:start]
    written = [turn.action[span.inner : span.outer] for span in spans]
    ids = [result.call.id or f"call_{number}_{i}" for i, result in enumerate(turn.results)]
    calls = [
        {"id": ids[i], "type": "function", "function": _function(result, written[i] if i < len(written) else "")}
        for i, result in enumerate(turn.results)
    ]
    yield {"role": "assistant", "content": neutral(said.strip()), "tool_calls": calls}
    images: list[ImageRef] = []
    for id, result, text in zip(ids, turn.results, result_texts(turn.results, turn.skipped), strict=True):
        if place == "user" and result.images:
            images += result.images
            yield {"role": "tool", "tool_call_id": id, "content": without_images(text)}
        else:
            yield {"role": "tool", "tool_call_id": id, "content": _content(Message(text, result.images))}
    if images:
        yield {"role": "user", "content": [RETURNED, *images]}


def _function(result: ToolResult, written: str) -> dict[str, str]:
    """Return name and arguments of a call as the endpoint gave them; servers demand that the arguments be JSON."""
    if result.call.name:
        return {"name": result.call.name, "arguments": json.dumps(dict(result.call.arguments), default=plain)}
    try:
        function = read_json(written)["function"]
        name = function["name"]
    except (ValueError, LookupError, TypeError):
        function, name = {}, ""
    known = isinstance(name, str) and name
    arguments = {"unreadable": str(function.get("arguments", written))}
    return {"name": name if known else "unknown", "arguments": json.dumps(arguments)}


def _json_of(
    settings: Mapping[str, Any], messages: Sequence[ChatMessage], url: Callable[[ImageRef], bytes]
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
