"""Running a policy's tool calls: whatever it wrote, a result comes back."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import replace

from deepeyes_env.core import ToolCall, ToolResult
from deepeyes_env.errors import ArgumentError, ToolError
from deepeyes_env.images import ImageRef, shown_size
from deepeyes_env.images.ops import fit
from deepeyes_env.protocols import MalformedCall, ParsedCall, quote
from deepeyes_env.tools import Tool, ToolContext

NAMESPACE = "functions."
"""Before a tool's name in the dialect of some models."""

logger = logging.getLogger(__name__)


def run_call(call: ParsedCall, tools: Mapping[str, Tool], context: ToolContext) -> ToolResult:
    """Run one call; the images of its result are fitted to the view budget.

    Never raises: a call that cannot be read or run, and a tool that breaks, give a result that says so. A tool that
    breaks is logged with its traceback.
    """
    if isinstance(call, MalformedCall):
        return ToolResult(ToolCall("", {}), "malformed", call.error)
    tool = _named(call.name, tools)
    if tool is None:
        known = ", ".join(tools) or "none"
        return ToolResult(call, "unknown_tool", f"there is no tool named {quote(call.name)}; the tools are: {known}")
    if tool.name != call.name:
        call = replace(call, name=tool.name)
    start = time.perf_counter()
    try:
        output = tool.run(call.arguments, context)
        images = tuple(_shown(image, context) for image in output.images)
    except ArgumentError as error:
        return ToolResult(call, "bad_arguments", str(error), seconds=time.perf_counter() - start)
    except ToolError as error:
        return ToolResult(call, "failed", str(error), seconds=time.perf_counter() - start)
    except Exception as error:
        logger.exception("tool %s failed on image %s", call.name, context.refs[0].name)
        message = f"{call.name} failed: {type(error).__name__}: {str(error)[:200]}"
        return ToolResult(call, "failed", message, seconds=time.perf_counter() - start)
    return ToolResult(call, "ok", "", output.text, images, output.box, time.perf_counter() - start)


def _named(name: str, tools: Mapping[str, Tool]) -> Tool | None:
    """Find a tool by the name that a policy wrote; some models are trained to write ``functions.`` before it."""
    return tools.get(name) or tools.get(name.strip().removeprefix(NAMESPACE).strip())


def _shown(ref: ImageRef, context: ToolContext) -> ImageRef:
    pixels = ref.pixels()
    size = (pixels.shape[1], pixels.shape[0])
    shown = shown_size(size, context.budget)
    return ref if shown == size else ImageRef(fit(pixels, shown, context.mode))
