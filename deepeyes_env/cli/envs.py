"""``deepeyes envs``: which environments there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from deepeyes_env.terminal import console

if TYPE_CHECKING:
    from deepeyes_env.core import ToolCall
    from deepeyes_env.tools import Tool


_BOX = (56, 56, 168, 168)
_EXAMPLES = {"bbox_2d": _BOX, "bbox": _BOX, "angle": 90}


def envs() -> None:
    """List the environment ids, with their tools, how calls are written, and the reward."""
    from deepeyes_env.envs.toolbox import TOOLBOXES

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("environment", "tools", "reward"):
        table.add_column(heading, no_wrap=True)
    table.add_column("a call")
    for toolbox in TOOLBOXES.values():
        tools = toolbox.known_tools()
        call = toolbox.protocol.format_call(_example(tools))
        reward = toolbox.rubric if isinstance(toolbox.rubric, str) else type(toolbox.rubric).__name__
        named = "\n".join([*tools, *map(str, toolbox.sources)])
        table.add_row(toolbox.name, named, reward, " ".join(call.split()))
    console().print(table)


def _example(tools: Mapping[str, Tool]) -> ToolCall:
    """Return a call of the first tool."""
    from deepeyes_env.core import ToolCall

    if not tools:
        return ToolCall("", {})
    name, tool = next(iter(tools.items()))
    return ToolCall(name, {argument: value for argument, value in _EXAMPLES.items() if argument in tool.own_arguments})
