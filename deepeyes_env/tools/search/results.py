"""What a text search returns, and how a policy reads it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from deepeyes_env.errors import ToolError

MAX_RESULTS = 10
"""How many results one search shows."""


class SearchError(ToolError):
    """A search did not answer; the policy is told so, and may go on without it."""


@dataclass(frozen=True, slots=True)
class WebResult:
    """A page or a document that was found.

    Attributes:
        title: Its title.
        link: Where it is.
        snippet: The part of it that fits the query; may be empty.
        date: When it was published, where known.
    """

    title: str
    link: str
    snippet: str = ""
    date: str = ""


class TextSearch(ABC):
    """Finds documents by words."""

    @abstractmethod
    def search(self, query: str, count: int = MAX_RESULTS) -> Sequence[WebResult]:
        """Return the documents that fit a query, the best first.

        Args:
            query: Words, in any language.
            count: How many are returned at most.

        Raises:
            SearchError: It does not answer.
        """


def search_observation(query: str, results: Sequence[WebResult]) -> str:
    """Return what a policy reads of a text search, in DeepEyesV2's words."""
    return f"A Google search for '{query}' found {len(results)} results:\n\n## Web Results\n" + "\n\n".join(
        f"{number}. [{result.title}]({result.link})"
        + (f"\nDate published: {result.date}" if result.date else "")
        + "\n"
        + (f"\n{result.snippet}" if result.snippet else "")
        for number, result in enumerate(results, 1)
    )
