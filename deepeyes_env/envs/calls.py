"""Reading a policy's actions and running its tool calls: whatever it wrote, a result comes back."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from deepeyes_env.core import StopReason, ToolCall, ToolResult, Turn
from deepeyes_env.envs.asked import asked_about, origin_of
from deepeyes_env.envs.tool_runner import ToolRunner
from deepeyes_env.errors import (
    ArgumentError,
    ToolError,
    ToolExitError,
    ToolSetupError,
    ToolTimeoutError,
    UsageTypeError,
)
from deepeyes_env.images import ImageRef, shown_size
from deepeyes_env.images.codec import as_rgb_array
from deepeyes_env.images.ops import fit
from deepeyes_env.protocols import (
    MalformedCall,
    ParsedCall,
    ParsedMessage,
    Protocol,
    quote,
    read_call,
    read_message,
)
from deepeyes_env.spaces import MAX_SIDE
from deepeyes_env.strict_json import is_recordable
from deepeyes_env.tools import Tool, ToolContext
from deepeyes_env.tools.tool import checked_output

NAMESPACE = "functions."
"""Before a tool's name in the dialect of some models."""

MAX_TEXT = 2**22
"""How many characters the texts of all tools may have that one message calls; an observation has room for more."""

MAX_ERROR = 1000
"""How many characters an error may have."""

_STOPS: dict[type[ToolError], StopReason] = {ToolTimeoutError: "tool_timeout", ToolExitError: "error"}

logger = logging.getLogger(__name__)


def read_action(action: Any, protocol: Protocol) -> tuple[str, ParsedMessage]:
    """Return what a policy did, as text in a protocol and taken apart.

    Args:
        action: What it wrote; or a ``ToolCall``; or an OpenAI-style assistant message with ``tool_calls``.
        protocol: The protocol.

    Raises:
        UsageTypeError: The action is none of the three.
    """
    if isinstance(action, str):
        return action, protocol.parse(action)
    if isinstance(action, ToolCall):
        return read_call(action, protocol)
    if isinstance(action, Mapping):
        return read_message(action, protocol)
    raise UsageTypeError(
        f"an action is the policy's message (str), a ToolCall, or an assistant message (dict), "
        f"not {type(action).__name__}"
    )


def completed(action: Any, turns: Sequence[Turn]) -> Any:
    """Return what a policy wrote with what its message was begun with, where it is not said again."""
    last = turns[-1].observation if turns else None
    begun = last.prefill if last else ""
    return begun + action if isinstance(action, str) and not action.startswith(begun) else action


def run_calls(
    parsed: ParsedMessage, tools: Mapping[str, Tool], context: ToolContext, runner: ToolRunner, shown: int, most: int
) -> tuple[tuple[ToolResult, ...], tuple[ImageRef, ...], StopReason]:
    """Run the calls of a message, one after the other.

    Args:
        parsed: The message.
        tools: Tools by name.
        context: The images of the episode.
        runner: Runs the tools.
        shown: How many images the episode has shown.
        most: How many it may show.

    Returns:
        The results, the images that are shown, and why the episode cannot go on; empty if it can.
    """
    results: list[ToolResult] = []
    images: list[ImageRef] = []
    stop: StopReason = ""
    max_text = MAX_TEXT // len(parsed.calls)
    for call in parsed.calls:
        result, broken = run_call(call, tools, context, runner, max_text, recordable=parsed.recordable)
        if shown + len(images) + len(result.images) > most:
            stop = "image_budget"
            error = f"the episode may show at most {most} images, and they are used up"
            result = replace(result, status="skipped", error=error, text="", images=(), origin=None)
        if context.album is not None:
            result = context.album.add(result)
        results.append(result)
        images += result.images
        if broken:
            stop = broken
            break
    return tuple(results), tuple(images), stop


def run_call(
    call: ParsedCall,
    tools: Mapping[str, Tool],
    context: ToolContext,
    runner: ToolRunner,
    max_text: int = MAX_TEXT,
    *,
    recordable: bool = False,
) -> tuple[ToolResult, StopReason]:
    """Run one call; the images of its result are fitted to the view budget, its text is cut.

    Whatever the policy wrote raises nothing: a call that cannot be read or run, and a tool that breaks, give a result
    that says so. A tool that breaks is logged with its traceback.

    Args:
        call: The call.
        tools: Tools by name.
        context: The images of the episode.
        runner: Runs the tool.
        max_text: How many characters the tool's text may have.
        recordable: Whether its arguments are known to be what JSON can hold.

    Returns:
        The result, and why the episode cannot go on; empty if it can.

    Raises:
        ToolSetupError: The tool has not what it runs on.
    """
    if isinstance(call, MalformedCall):
        return ToolResult(ToolCall("", {}), "malformed", call.error), ""
    if not recordable and not is_recordable(call.arguments):  # A protocol of the user's own has let it pass.
        error = f"the arguments of {quote(call.name)} are nested too deeply, or hold what JSON cannot"
        return ToolResult(ToolCall("", {}), "malformed", error), ""
    tool = tools.get(call.name) or _namesake(call.name, tools)
    if tool is None:
        known = ", ".join(tools) or "none"
        error = f"there is no tool named {quote(call.name)}; the tools are: {known}"
        return ToolResult(call, "unknown_tool", error), ""
    if tool.name != call.name:
        call = replace(call, name=tool.name)
    start = time.perf_counter()
    stop: StopReason = ""
    try:
        arguments = call.arguments
        if context.album is not None:
            arguments, context = asked_about(tool, arguments, context, context.album)
        output = runner.run(tool, tool.run, arguments, context)
        if not tool.runs_in_place:
            output = checked_output(output, tool.name)
        images = tuple(_shown(image, context, tool.runs_in_place) for image in output.images)
        text = _cut(output.text, max_text)
        seconds = time.perf_counter() - start
        if context.target is None and tool.returns_crops:
            return ToolResult(call, "ok", "", text, images, output.box, seconds), ""
        origin, box = origin_of(output, context, crops=tool.returns_crops)
        return ToolResult(call, "ok", "", text, images, box, seconds, origin), ""
    except ArgumentError as refusal:
        return ToolResult(call, "bad_arguments", _cut(str(refusal)), seconds=time.perf_counter() - start), ""
    except ToolSetupError:
        raise
    except ToolError as refusal:
        message = str(refusal)
        stop = _STOPS.get(type(refusal), "")
    except Exception as failure:
        logger.exception("tool %s failed on image %s", call.name, context.refs[0].name)
        message = f"{call.name} failed: {type(failure).__name__}: {str(failure)[:200]}"
    return ToolResult(call, "failed", _cut(message), seconds=time.perf_counter() - start), stop


def _namesake(name: str, tools: Mapping[str, Tool]) -> Tool | None:
    """Find a tool whose name is written a little otherwise: some models are trained to put ``functions.`` before it."""
    return tools.get(name.strip().removeprefix(NAMESPACE).strip())


def _shown(ref: ImageRef, context: ToolContext, trusted: bool) -> ImageRef:
    """Return an image as it is shown; a file or a recipe, which may change or draw anew, as the pixels it has now."""
    pixels = ref.pixels() if trusted else as_rgb_array(ref.pixels())
    size = (pixels.shape[1], pixels.shape[0])
    shown = shown_size(size, context.budget)
    if max(shown) > MAX_SIDE:
        raise ValueError(f"an image of {size[0]} x {size[1]} pixels is too large; the longest side is {MAX_SIDE}")
    if shown != size:
        return ImageRef(fit(pixels, shown, context.mode))
    return ref if ref.source is pixels or isinstance(ref.source, bytes) else ImageRef(pixels)


def _cut(text: str, most: int = MAX_ERROR) -> str:
    """Return at most so many characters of a text, and say how many there were."""
    return text if len(text) <= most else f"{text[:most]}... (cut: {len(text)} characters)"
