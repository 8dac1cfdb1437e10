"""Python: run a program on the images, in the episode's sandbox."""

from __future__ import annotations

from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.images import ImageRef
from deepeyes_env.tools.context import ToolContext
from deepeyes_env.tools.tool import Tool, ToolOutput


class PythonTool(Tool):
    """Run a program in the session of the episode, which opens with the first call.

    Args:
        sandbox: Where programs run: a registered name, or a sandbox.
        limits: What they may use, a ``Limits``; by default its defaults.
    """

    name = "python"

    def __init__(self, sandbox: Any = "local", limits: Any = None) -> None:
        self._sandbox, self._limits = sandbox, limits
        self._session: Any = None

    def open(self, sample: Sample) -> None:
        """Begin an episode: nothing starts before its first call."""
        self._session = None

    def __call__(self, context: ToolContext, code: str) -> ToolOutput:
        """Run Python code as in a notebook: variables are kept, image_1, image_2, ... are PIL images.

        Args:
            context: The episode's images.
            code: The program. What it prints, its last expression, and images that it shows with plt.show() or
                Image.show() come back.
        """
        from deepeyes_env.sandbox import Session
        from deepeyes_env.sandbox.observation import code_observation

        if self._session is None:
            self._session = Session(context.images, sandbox=self._sandbox, limits=self._limits)
        result = self._session.run(code)
        return ToolOutput(text=code_observation(result), images=tuple(map(ImageRef, result.images)))

    def close(self) -> None:
        """End an episode."""
        session, self._session = self._session, None
        if session is not None:
            session.close()
