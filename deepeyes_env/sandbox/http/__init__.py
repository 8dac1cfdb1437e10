"""The original's HTTP form of a sandbox: a client for it, and a server of ours."""

from deepeyes_env.sandbox.http.client import HTTPSandbox
from deepeyes_env.sandbox.http.server import SandboxServer

__all__ = ["HTTPSandbox", "SandboxServer"]
