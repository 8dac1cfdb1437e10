"""Search: what the policy does not know, from a folder of documents or from a server."""

from deepeyes_env.tools.search.documents import FolderSearch
from deepeyes_env.tools.search.endpoint import HTTPSearch
from deepeyes_env.tools.search.named import get_search
from deepeyes_env.tools.search.results import SearchError, TextSearch, WebResult, search_observation

__all__ = [
    "FolderSearch",
    "HTTPSearch",
    "SearchError",
    "TextSearch",
    "WebResult",
    "get_search",
    "search_observation",
]
