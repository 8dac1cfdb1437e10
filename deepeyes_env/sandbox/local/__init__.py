"""The sandbox on this machine: bubblewrap, namespaces, limits and a filter of system calls."""

from deepeyes_env.sandbox.local.sandbox import LocalSandbox

__all__ = ["LocalSandbox"]
