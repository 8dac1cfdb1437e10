"""What a server returns, as the output of a tool."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from deepeyes_env.errors import ImageError, ToolError
from deepeyes_env.images import ImageRef
from deepeyes_env.tools.tool import ToolOutput


def output_of(result: Any, name: str) -> ToolOutput:
    """Return the texts and images of a result; where there is none of both, its structured content as JSON.

    Args:
        result: The SDK's ``CallToolResult``.
        name: Name of the tool.

    Raises:
        ToolError: The server says that the tool failed, or there is something that cannot be shown.
    """
    texts: list[str] = []
    images: list[ImageRef] = []
    for block in result.content:
        if block.type == "text":
            texts.append(block.text)
        elif block.type == "image":
            images.append(_image(block, name))
        elif not result.is_error:
            raise ToolError(f"{name} returned {block.type.replace('_', ' ')}, and only text and images can be shown")
    text = "\n".join(texts)
    if result.is_error:
        raise ToolError(text or f"{name} failed")
    if not result.content and result.structured_content is not None:
        text = json.dumps(result.structured_content, ensure_ascii=False)
    return ToolOutput(text, tuple(images))


def _image(block: Any, name: str) -> ImageRef:
    try:
        image = ImageRef(base64.b64decode(block.data, validate=True), name=name)
        _ = image.pixels()  # here, where it can still be told
    except (binascii.Error, ImageError) as error:
        raise ToolError(f"{name} returned an image that cannot be read: {str(error)[:200]}") from error
    return image
