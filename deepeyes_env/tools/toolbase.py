"""Adapter for tools written against the original's ``ToolBase`` interface.

The original's environments subclass ``ToolBase`` with ``reset(raw_prompt, multi_modal_data, origin_multi_modal_data)``
and ``execute(action_string) -> (observation, reward, done, info)``. The observation is a string, a dict with ``prompt``
or ``chat`` and ``multi_modal_data``, and carries chat-template markers of Qwen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deepeyes_env.core import IMAGE_PLACEHOLDER, Sample
from deepeyes_env.errors import ToolError, UsageError
from deepeyes_env.images import ImageRef
from deepeyes_env.images.frames import to_native
from deepeyes_env.images.pil import to_pil
from deepeyes_env.protocols.tags import TOOL_CALL, TOOL_RESPONSE
from deepeyes_env.tools.context import ToolContext
from deepeyes_env.tools.tool import Tool, ToolOutput

_BOX_ARGUMENTS = ("bbox_2d", "bbox")
_MARKERS = (
    "<|im_start|>user",
    "<|im_start|>assistant",
    "<|im_end|>",
    *TOOL_RESPONSE,
    IMAGE_PLACEHOLDER,
)


class ToolBaseTool(Tool):
    """One tool of an original ``ToolBase`` object.

    Its reward and its ``done`` flag are not used: rewards are the rubric's business, and the protocol decides when an
    episode ends.

    Args:
        make: Makes the object, afresh for every episode; usually its class with arguments bound.
        schema: OpenAI-style function schema: ``{"name", "description", "parameters"}``.
        write: Turns name and arguments into the action string that ``execute`` parses; by default the original's
            ``<tool_call>`` JSON.

    Example:
        >>> legacy = partial(ToolBaseTool, lambda: VisualToolBoxV2(None, None, None), schema)
    """

    def __init__(
        self,
        make: Callable[[], Any],
        schema: Mapping[str, Any],
        write: Callable[[str, Mapping[str, Any]], str] | None = None,
    ) -> None:
        missing = {"name", "description", "parameters"} - set(schema)
        if missing:
            raise UsageError(f"ToolBaseTool: schema lacks {', '.join(sorted(missing))}")
        self.name = schema["name"]
        self._make = make
        self._schema = dict(schema)
        self._write = write or _as_tool_call
        self._inner: Any = None

    @property
    def schema(self) -> dict[str, Any]:
        """The schema as given."""
        return {"type": "function", "function": self._schema}

    @property
    def is_about_an_image(self) -> bool:
        """It is not: the object sees the question's images, and names them as it likes."""
        return False

    def open(self, sample: Sample) -> None:
        """Make the object and reset it with the sample's images as PIL images."""
        images = [to_pil(ref.pixels()) for ref in sample.images]
        self._inner = self._make()
        data = {"image": images}
        self._inner.reset([{"role": "user", "content": sample.question}], data, data)

    def close(self) -> None:
        """Drop the object."""
        self._inner = None

    def run(self, arguments: Mapping[str, Any], context: ToolContext) -> ToolOutput:
        """Let the object execute the call; boxes are handed over in the native pixels of the images it was given.

        Raises:
            ToolError: The object reported an error.
        """
        native = {name: _native(name, value, context) for name, value in arguments.items()}
        observation, _reward, _done, info = self._inner.execute(self._write(self.name, native))
        if isinstance(info, Mapping) and info.get("status") == "failed":
            raise ToolError(_text(observation) or str(info.get("error", "the tool failed")))
        return ToolOutput(text=_text(observation), images=tuple(map(ImageRef.of, _images(observation))))


def _as_tool_call(name: str, arguments: Mapping[str, Any]) -> str:
    return TOOL_CALL.around(f"\n{json.dumps({'name': name, 'arguments': dict(arguments)})}\n")


def _native(name: str, value: Any, context: ToolContext) -> Any:
    if name not in _BOX_ARGUMENTS or not isinstance(value, list) or len(value) != 4:
        return value
    if not all(type(x) in (int, float) for x in value):
        return value
    x1, y1, x2, y2 = value
    return list(to_native((x1, y1, x2, y2), context.frame, context.native_size, context.view_size))


def _text(observation: Any) -> str:
    if isinstance(observation, Mapping):
        chat: Sequence[Mapping[str, Any]] = observation.get("chat") or ()
        text = observation.get("prompt") or "\n".join(str(message.get("content", "")) for message in chat)
    elif isinstance(observation, list | tuple):
        text = "\n".join(
            str(part.get("content", "")) if isinstance(part, Mapping) else str(part) for part in observation
        )
    else:
        text = str(observation or "")
    for marker in _MARKERS:
        text = text.replace(marker, "")
    return text.strip()


def _images(observation: Any) -> list[Any]:
    if not isinstance(observation, Mapping):
        return []
    data = observation.get("multi_modal_data") or {}
    return list(data.get("image") or ())
