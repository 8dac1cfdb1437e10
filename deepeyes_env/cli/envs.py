"""``deepeyes envs``: which environments there are."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table


def envs() -> None:
    """List the environment ids, with their tools, how calls are written, and the reward."""
    from deepeyes_env.core import ToolCall
    from deepeyes_env.envs.toolbox import registered_toolboxes

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("environment", "tools", "reward"):
        table.add_column(heading, no_wrap=True)
    table.add_column("a call")
    for toolbox in registered_toolboxes():
        tools = toolbox.make_tools()
        call = toolbox.protocol.format_call(ToolCall(next(iter(tools), ""), {}))
        reward = toolbox.rubric if isinstance(toolbox.rubric, str) else type(toolbox.rubric).__name__
        table.add_row(toolbox.name, "\n".join(tools), reward, " ".join(call.split()))
    Console().print(table)
