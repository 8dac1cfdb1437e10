"""Sandboxes by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

from deepeyes_env.errors import UsageTypeError
from deepeyes_env.registry import Registry
from deepeyes_env.sandbox.kernel import Sandbox
from deepeyes_env.telling import quoted

SandboxLike: TypeAlias = "str | Sandbox"
"""A registered name, or a sandbox."""

SANDBOXES: Registry[Callable[[], Sandbox]] = Registry("sandbox")
"""What makes a sandbox, by name: a class without required arguments, or a function."""


@SANDBOXES.register("local")
def _local() -> Sandbox:
    from deepeyes_env.sandbox.local import LocalSandbox

    return LocalSandbox()


@SANDBOXES.register("http")
def _http() -> Sandbox:
    from deepeyes_env.sandbox.http import HTTPSandbox

    return HTTPSandbox()


SANDBOXES.protect()


def get_sandbox(sandbox: SandboxLike = "local") -> Sandbox:
    """Return a sandbox; the one of a name is made once in a process, and shared.

    Raises:
        UnknownNameError: No sandbox has that name.
        UsageTypeError: It is no sandbox.
    """
    if isinstance(sandbox, Sandbox):
        return sandbox
    if not isinstance(sandbox, str):
        raise UsageTypeError(f"sandbox is {quoted(sandbox)}; give the name of one, or an instance of Sandbox")
    return _made(SANDBOXES.get(sandbox))


@cache
def _made(factory: Callable[[], Sandbox]) -> Sandbox:
    return factory()
