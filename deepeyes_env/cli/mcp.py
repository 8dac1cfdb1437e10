"""``deepeyes mcp``: the tools of an environment for any MCP client."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from deepeyes_env.cli.options import DataSource, EnvId, MaxPixels
from deepeyes_env.cli.views import view_budget
from deepeyes_env.terminal import say


def mcp(
    env: EnvId = "VisualToolbox-v2",
    data: DataSource = "visual_search",
    frame: Annotated[str, typer.Option(help="Coordinates of boxes: view, norm1000, unit or native.")] = "view",
    max_pixels: MaxPixels = None,
    http: Annotated[
        int | None,
        typer.Option(min=1, max=65535, metavar="PORT", help="Serve on 127.0.0.1 instead of standard input and output."),
    ] = None,
) -> None:
    """Serve the tools of an environment, and the questions of a data set, to MCP clients."""
    from deepeyes_env.envs.mcp_server import ToolServer, serve_http, serve_stdio
    from deepeyes_env.envs.toolbox import registered_kwargs
    from deepeyes_env.envs.visual_toolbox import VisualToolboxEnv

    kwargs: dict[str, Any] = {**registered_kwargs(env), "dataset": data, "frame": frame, "rubric": None}
    if max_pixels is not None:
        kwargs["view"] = view_budget(max_pixels)
    server = ToolServer(VisualToolboxEnv(**kwargs))
    if http is None:
        serve_stdio(server)
    else:
        say(f"tools of {env} at http://127.0.0.1:{http}/mcp; Ctrl-C stops", err=True)
        serve_http(server, http)
