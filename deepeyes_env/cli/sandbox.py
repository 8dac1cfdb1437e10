"""``deepeyes sandbox``: checks that programs can be shut in here, and serves code to trainers elsewhere."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from deepeyes_env.terminal import say


def sandbox(
    port: Annotated[
        int | None, typer.Option(min=0, max=65535, help="Serve programs on this port; 0 takes a free one.")
    ] = None,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for other machines.")] = "127.0.0.1",
    cell_seconds: Annotated[float, typer.Option(min=0.1, help="Most seconds of a cell.")] = 200.0,
    memory: Annotated[int, typer.Option(min=64, help="Most MiB of a session.")] = 2048,
    sessions: Annotated[int, typer.Option(min=1, help="Most sessions at once.")] = 1024,
) -> None:
    """Check the sandbox, or serve it over HTTP: a token in DEEPEYES_SANDBOX_TOKEN is asked for."""
    from deepeyes_env.errors import UsageError
    from deepeyes_env.sandbox import Limits
    from deepeyes_env.sandbox.http import SandboxServer
    from deepeyes_env.sandbox.http.client import TOKEN_VARIABLE
    from deepeyes_env.sandbox.kernel import MIB
    from deepeyes_env.sandbox.local import LocalSandbox

    token = os.environ.get(TOKEN_VARIABLE, "")
    if port is not None and host not in ("127.0.0.1", "localhost", "::1") and not token:
        raise UsageError(f"--host {host}: others could run programs here; set {TOKEN_VARIABLE} to a secret of yours")
    with LocalSandbox() as local:
        local.check()
        say(local.describe())
        if port is None:
            return
        limits = Limits(cell_seconds=cell_seconds, episode_seconds=3600.0, memory=memory * MIB)
        server = SandboxServer((host, port), sandbox=local, limits=limits, token=token, most_sessions=sessions)
        say(f"serving at {server.url}; DEEPEYES_SANDBOX_URL={server.url} lets trainers use it")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("closed")
        finally:
            server.server_close()
