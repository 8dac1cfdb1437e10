"""Searches by what they search: a folder's path, or a server's URL."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

from deepeyes_env.errors import UsageTypeError
from deepeyes_env.telling import quoted
from deepeyes_env.tools.search.documents import FolderSearch
from deepeyes_env.tools.search.endpoint import HTTPSearch
from deepeyes_env.tools.search.results import TextSearch

CACHE_VARIABLE = "DEEPEYES_SEARCH_CACHE"
"""Environment variable: the file of a server's answers."""


def get_search(search: str | Path | TextSearch) -> TextSearch:
    """Return a search: of a folder of documents, of the server at a URL, or one as it is.

    The one of a name is made once in a process, and shared. Answers of a server are kept in the file that the variable
    ``DEEPEYES_SEARCH_CACHE`` names, if any.

    Raises:
        UsageError: The folder holds no documents.
        UsageTypeError: It is none of the three.
    """
    if isinstance(search, TextSearch):
        return search
    if not isinstance(search, str | Path):
        raise UsageTypeError(f"search is {quoted(search)}; give a folder, a URL, or an instance of TextSearch")
    return _named(str(search), os.environ.get(CACHE_VARIABLE) or None)


@cache
def _named(search: str, cache: str | None) -> TextSearch:
    return HTTPSearch(search, cache=cache) if search.startswith(("http://", "https://")) else FolderSearch(search)
