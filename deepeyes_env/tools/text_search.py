"""The tool ``search``: facts that stand in no image."""

from __future__ import annotations

import logging
import os
from functools import cache
from typing import Any

from deepeyes_env.errors import ArgumentError, ToolError
from deepeyes_env.tools.tool import Tool, ToolOutput

SEARCH_VARIABLE = "DEEPEYES_SEARCH"
"""Environment variable: what is searched where nothing else is said; a folder of documents, or a URL."""

_MAX_QUERY = 1000
logger = logging.getLogger(__name__)


class SearchTool(Tool):
    """Searches for text.

    Args:
        search: A folder of documents, the URL of a server, or a ``TextSearch``; by default what the variable
            ``DEEPEYES_SEARCH`` says. Where that says nothing either, a call is told that there is nothing to search.

    Raises:
        UsageError: The folder holds no documents.
        UsageTypeError: ``search`` is none of the three.
    """

    name = "search"

    def __init__(self, search: Any = None) -> None:
        self._search = None if search is None else _searched(search)

    def __call__(self, query: str) -> ToolOutput:
        """Search for facts that you do not know; titles, links and snippets come back.

        Args:
            query: What to search for.
        """
        from deepeyes_env.tools.search import search_observation

        if not query.strip():
            raise ArgumentError("query is blank; write what to search for")
        if len(query) > _MAX_QUERY:
            raise ArgumentError(f"query has {len(query)} characters; at most {_MAX_QUERY} are searched for")
        search = self._search or _searched(searched_by_default(self.name, SEARCH_VARIABLE))
        return ToolOutput(text=search_observation(query, search.search(query)))


def searched_by_default(tool: str, variable: str) -> str:
    """Return what an environment variable says is searched.

    Raises:
        ToolError: Nothing; the user is told once, in the log, how to change that.
    """
    named = os.environ.get(variable)
    if not named:
        _tell_once(tool, variable)
        raise ToolError("there is nothing to search here; go on without it")
    return named


def _searched(search: Any) -> Any:
    from deepeyes_env.tools.search import get_search

    return get_search(search)


@cache
def _tell_once(tool: str, variable: str) -> None:
    logger.warning("a policy calls %s, and there is nothing to search; set %s", tool, variable)
