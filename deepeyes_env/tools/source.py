"""ToolSource: where tools come from that are only known once an environment is reset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from deepeyes_env.tools.tool import Tool


class ToolSource(ABC):
    """Stands in a toolbox for tools that are found out at reset, such as those of a tool server.

    It travels to other processes with its toolbox, so it holds what leads to the tools, and nothing that is open.
    """

    @abstractmethod
    def make_tools(self) -> Sequence[Tool]:
        """Return the tools, of which each environment gets instances of its own."""
