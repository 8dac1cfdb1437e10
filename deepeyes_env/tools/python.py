"""Python: run a program on the images, in the episode's sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.errors import MissingExtraError, ToolSetupError
from deepeyes_env.images import ImageRef
from deepeyes_env.images.least_size import at_least
from deepeyes_env.tools.context import ToolContext
from deepeyes_env.tools.tool import Tool, ToolOutput


class PythonTool(Tool):
    """Run a program in the session of the episode, which opens with the first call and ends with the episode.

    Programs know the question's images at native size, and every image shown since: what programs showed, and, where a
    toolbox's calls name images (``addressing``), what other tools returned, as it was shown. The policy sees an image
    of a program at its very pixels, or at its ``least_size`` if it is smaller.

    Args:
        sandbox: Where programs run: a registered name, or a sandbox.
        limits: What they may use, a ``Limits``; by default its defaults.

    Raises:
        ToolSetupError: When an episode begins, or with the first program: the sandbox cannot be had here.
    """

    name = "python"

    def __init__(self, sandbox: Any = "local", limits: Any = None) -> None:
        self._sandbox, self._limits = sandbox, limits
        self._session: Any = None

    def open(self, sample: Sample) -> None:
        """Begin an episode: nothing starts before its first call."""
        from deepeyes_env.sandbox import get_sandbox

        with _remedy(self.name):
            get_sandbox(self._sandbox).check_installed()
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
        if context.album is not None:
            self._session.show(*(shown.image.pixels() for shown in context.album.shown[self._session.images :]))
        with _remedy(self.name):
            result = self._session.run(code)
        return ToolOutput(text=code_observation(result), images=tuple(ImageRef(at_least(x)) for x in result.images))

    def close(self) -> None:
        """End an episode."""
        session, self._session = self._session, None
        if session is not None:
            session.close()


@contextmanager
def _remedy(tool: str) -> Iterator[None]:
    """Tell the user, and not the policy, that programs cannot be shut in here."""
    from deepeyes_env.sandbox import IsolationError

    try:
        yield
    except (IsolationError, MissingExtraError) as error:
        raise ToolSetupError(f"tool {tool!r}: {error}") from error
