"""An environment's tools for any MCP client: each call is about a sample of a data set, and no answer is told."""

from __future__ import annotations

import base64
import logging
import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deepeyes_env.core import IMAGE_PLACEHOLDER, Sample, ToolCall
from deepeyes_env.envs.prompt import opening_text
from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv
from deepeyes_env.errors import DeepEyesError, UsageError
from deepeyes_env.extras import needs_extra
from deepeyes_env.images import ImageRef
from deepeyes_env.images.codec import encode
from deepeyes_env.images.png import encode_png

SHOW = "show_sample"
"""Name of the tool that shows what is asked."""

ARGUMENT = "sample"
"""The argument by which a call names its sample."""

_LARGE_PNG = 2**21  # bytes; a larger picture is sent as JPEG

logger = logging.getLogger(__name__)


class ToolServer:
    """The tools of an environment, as an MCP server has them; nothing is remembered from one call to the next.

    Args:
        env: The environment: its toolbox, its data set, and how it shows images. Calls take turns in it.

    Raises:
        UsageError: The toolbox has no tools, or one of them has a name or an argument that is needed here.
    """

    def __init__(self, env: VisualToolboxEnv) -> None:
        self._env = env
        self._turn = threading.Lock()
        self._last = len(env.dataset) - 1
        self._tools = [self._with_sample(schema["function"]) for schema in env.toolbox.schemas]
        if not self._tools:
            raise UsageError(f"{env.toolbox.name}: has no tools to serve; choose another environment")

    def sdk_server(self) -> Any:
        """Return the SDK's server (``mcp.server.Server``), for any of its transports.

        Raises:
            MissingExtraError: The SDK is not installed.
        """
        with needs_extra("mcp"):
            import anyio.to_thread
            import mcp_types as types
            from mcp.server import Server

        async def list_tools(context: Any, params: Any) -> types.ListToolsResult:
            shown = types.Tool(name=SHOW, description=self._show_description, input_schema=self._show_schema)
            return types.ListToolsResult(tools=[shown, *(types.Tool(**tool) for tool in self._tools)])

        async def call_tool(context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
            content, failed = await anyio.to_thread.run_sync(self.call, params.name, params.arguments or {})
            return types.CallToolResult.model_validate({"content": content, "is_error": failed})

        from deepeyes_env import __version__

        return Server(
            "deepeyes",
            version=__version__,
            instructions=self._instructions,
            on_list_tools=list_tools,
            on_call_tool=call_tool,
        )

    def call(self, name: str, arguments: dict[str, Any]) -> tuple[list[dict[str, Any]], bool]:
        """Run a call; returns MCP content blocks, and whether it failed. Thread-safe.

        Args:
            name: Name of the tool.
            arguments: Its arguments, the sample's number among them.
        """
        number = arguments.get(ARGUMENT)
        if type(number) is not int or not 0 <= number <= self._last:
            return [_text(f"{ARGUMENT}: must be a whole number from 0 to {self._last}")], True
        rest = {key: value for key, value in arguments.items() if key != ARGUMENT}
        try:
            with self._turn:
                return self._run(name, rest, replace(self._env.dataset[number], env_name=""))
        except DeepEyesError as error:  # a sample that cannot be read
            logger.error("sample %d: %s", number, error)
            return [_text(f"sample {number} cannot be shown: {error}")], True

    def _run(self, name: str, arguments: dict[str, Any], sample: Sample) -> tuple[list[dict[str, Any]], bool]:
        _, info = self._env.reset(options={"sample": sample})
        if name == SHOW:
            asked = opening_text(info["trajectory"].sample, "")
            return _interleaved(asked, info["trajectory"].prompt.images), False
        *_, info = self._env.step(ToolCall(name, arguments))
        (result,) = info["calls"]
        texts = [_text(text) for text in (result.text if result.ok else result.error,) if text]
        return [*texts, *map(_image, result.images)], not result.ok

    def _with_sample(self, function: dict[str, Any]) -> dict[str, Any]:
        parameters = dict(function["parameters"])
        properties = parameters.get("properties", {})
        if ARGUMENT in properties or function["name"] == SHOW:
            raise UsageError(f"the tool {function['name']!r} cannot be served: {ARGUMENT} and {SHOW} are taken")
        parameters["type"] = "object"
        parameters["properties"] = {ARGUMENT: self._number, **properties}
        parameters["required"] = [ARGUMENT, *parameters.get("required", [])]
        return {"name": function["name"], "description": function["description"], "input_schema": parameters}

    @property
    def _number(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": 0, "maximum": self._last, "description": "Number of the question."}

    @property
    def _show_schema(self) -> dict[str, Any]:
        return {"type": "object", "properties": {ARGUMENT: self._number}, "required": [ARGUMENT]}

    @property
    def _show_description(self) -> str:
        return f"Show a question and its images. There are {self._last + 1}, counted from 0."

    @property
    def _instructions(self) -> str:
        units = {
            "view": "in pixels of the image as it was shown",
            "native": "in pixels of the original image",
            "norm1000": "in thousandths of the sides of the image",
            "unit": "in fractions of the sides of the image",
        }
        boxes = units[self._env.frame]
        return f"Questions about images. {SHOW} shows one; the other tools look closer. Boxes are {boxes}."


def _text(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def _image(image: ImageRef) -> dict[str, Any]:
    pixels = image.pixels()
    data, kind = encode_png(pixels), "png"
    if len(data) > _LARGE_PNG:
        data, kind = encode(pixels, "jpeg"), "jpeg"
    return {"type": "image", "data": base64.b64encode(data).decode(), "mimeType": f"image/{kind}"}


def _interleaved(text: str, images: Sequence[ImageRef]) -> list[dict[str, Any]]:
    """Return a text with its images where their placeholders are."""
    content: list[dict[str, Any]] = []
    for number, part in enumerate(text.split(IMAGE_PLACEHOLDER)):
        if 0 < number <= len(images):
            content.append(_image(images[number - 1]))
        if part.strip():
            content.append(_text(part.strip()))
    return content


def serve_stdio(server: ToolServer) -> None:
    """Serve over standard input and output until the client closes them."""
    made = server.sdk_server()
    import anyio
    from mcp.server.stdio import stdio_server

    async def serve() -> None:
        async with stdio_server() as (received, sent):
            await made.run(received, sent, made.create_initialization_options())

    anyio.run(serve)


def serve_http(server: ToolServer, port: int) -> None:
    """Serve over HTTP at ``http://127.0.0.1:PORT/mcp`` until the process is interrupted."""
    app = server.sdk_server().streamable_http_app(stateless_http=True, json_response=True)
    import uvicorn

    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning")
