"""Where a policy's programs run: one session an episode, shut in."""

from deepeyes_env.sandbox.kernel import (
    Cell,
    CellResult,
    IsolationError,
    Kernel,
    KernelLostError,
    Limits,
    Sandbox,
    SandboxError,
)
from deepeyes_env.sandbox.registry import SANDBOXES, SandboxLike, get_sandbox
from deepeyes_env.sandbox.session import Session

__all__ = [
    "SANDBOXES",
    "Cell",
    "CellResult",
    "IsolationError",
    "Kernel",
    "KernelLostError",
    "Limits",
    "Sandbox",
    "SandboxError",
    "SandboxLike",
    "Session",
    "get_sandbox",
]
