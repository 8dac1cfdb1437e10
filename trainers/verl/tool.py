"""DeepEyesTool: any of our tools inside verl's own tool loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any
from uuid import uuid4

from deepeyes_env.extras import needs_extra

with needs_extra("verl"):
    from verl.tools.base_tool import BaseTool
    from verl.tools.schemas import OpenAIFunctionToolSchema, ToolResponse

from deepeyes_env.core import ToolCall, ToolResult
from deepeyes_env.envs.calls import run_call
from deepeyes_env.envs.tool_runner import DEFAULT_TIMEOUT, ToolRunner
from deepeyes_env.errors import UsageError
from deepeyes_env.images import ImageRef, ImageStore, ViewBudget
from deepeyes_env.images.frames import Frame, check_frame_name
from deepeyes_env.images.pil import to_pil
from deepeyes_env.tools import Tool, ToolContext, get_tool
from deepeyes_env.trainers.verl.sources import open_source

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ToolSettings:
    """The ``config`` of a tool in verl's ``tool_config_path``.

    Attributes:
        tool: Name of the tool.
        frame: Coordinate frame in which the policy writes boxes.
        min_pixels: Minimum number of pixels of an image that comes back.
        max_pixels: Maximum number of pixels of an image that comes back.
        image_memory: Megabytes of decoded images that a process keeps.
        type: ``native``, which verl wants to read there.
    """

    tool: str
    frame: Frame = "view"
    min_pixels: int = ViewBudget().min_pixels
    max_pixels: int = ViewBudget().max_pixels
    image_memory: int = 2048
    type: str = "native"


class DeepEyesTool(BaseTool):
    """One of our tools, as verl's tool loop calls it.

    verl makes and releases a tool for each call, so a tool that keeps state over the turns of an episode is refused:
    the agent loop ``deepeyes`` plays those. The image is the sample's, in native pixels, where ``tools_kwargs`` of the
    row holds ``{NAME: {"create_kwargs": {"source": ..., "index": ...}}}``; else the first that the policy was shown.

    The tool's reward is 1 if it returned an image, else 0: ``compute_score`` reads that.

    Args:
        config: See ``ToolSettings``.
        tool_schema: What the policy is told; by default what our tool says of itself.

    Raises:
        UnknownNameError: There is no such tool or frame.
        UsageError: The tool keeps state.
    """

    def __init__(self, config: Mapping[str, Any], tool_schema: Any = None) -> None:
        self._settings = ToolSettings(**config)
        check_frame_name(self._settings.frame)
        found = get_tool(self._settings.tool)
        self._tool: Tool = found() if isinstance(found, type) else found
        if self._tool.stateful:
            raise UsageError(
                f"tool {self._tool.name!r} keeps state over the turns of an episode, and verl's tool loop makes a new "
                "one for each call; play it with the agent loop 'deepeyes'"
            )
        self._runner = ToolRunner(DEFAULT_TIMEOUT)
        self._opened: dict[str, Mapping[str, Any]] = {}
        super().__init__(dict(config), tool_schema or OpenAIFunctionToolSchema.model_validate(self._tool.schema))

    async def create(self, instance_id: str | None = None, **kwargs: Any) -> tuple[str, Any]:
        """Begin a call; ``create_kwargs`` may say which sample it is about."""
        name = instance_id or uuid4().hex
        self._opened[name] = kwargs.get("create_kwargs") or {}
        return name, ToolResponse()

    async def execute(
        self, instance_id: str, parameters: Mapping[str, Any], **kwargs: Any
    ) -> tuple[Any, float, dict[str, Any]]:
        """Run the call; what the policy got wrong is told to it as text."""
        shown = getattr(kwargs.get("agent_data"), "image_data", None) or ()
        call = partial(self._run, dict(parameters), self._opened.get(instance_id, {}), tuple(shown))
        result: ToolResult = await asyncio.to_thread(call)
        images = [to_pil(image.pixels()) for image in result.images]
        text = result.text or result.error
        response = ToolResponse(text=text, image=images) if images else ToolResponse(text=text)
        return response, float(bool(images)), {"status": result.status, "box": result.box}

    async def release(self, instance_id: str, **_kwargs: Any) -> None:
        """End a call."""
        self._opened.pop(instance_id, None)

    def _run(self, arguments: dict[str, Any], where: Mapping[str, Any], shown: tuple[Any, ...]) -> ToolResult:
        settings = self._settings
        refs = open_source(where["source"])[int(where["index"])].images if where else ()
        refs = refs or tuple(map(ImageRef.of, shown))
        if not refs:
            return ToolResult(ToolCall(self.name, arguments), "failed", "there is no image in this conversation")
        context = ToolContext(
            store=_store(settings.image_memory),
            refs=refs,
            frame=settings.frame,
            native_size=refs[0].size,
            view_size=shown[0].size if shown else refs[0].size,
            budget=ViewBudget(settings.min_pixels, settings.max_pixels),
        )
        result, _ = run_call(ToolCall(self._tool.name, arguments), {self._tool.name: self._tool}, context, self._runner)
        return result


@lru_cache(maxsize=1)
def _store(megabytes: int) -> ImageStore:
    """Return the store that all tools of a process share."""
    return ImageStore(megabytes * 2**20)
