"""HTTPSearch: a search behind HTTP, with a cache on disk, retries and a rate limit."""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import random
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from deepeyes_env.errors import UsageError
from deepeyes_env.telling import quoted
from deepeyes_env.tools.search.cache import SearchCache
from deepeyes_env.tools.search.results import MAX_RESULTS, SearchError, TextSearch, WebResult

MAX_BYTES = 4 << 20
"""How long a reply may be."""

MAX_TITLE, MAX_LINK, MAX_SNIPPET = 300, 500, 2000
"""How many characters of a result's parts are kept."""

_QUERY, _COUNT = "{query}", "{count}"
_TITLES, _LINKS = ("title", "name"), ("link", "url", "href")
_SNIPPETS = ("snippet", "content", "description", "body", "text", "summary")
_DATES = ("date", "publishedDate", "published_date", "page_age", "datePublished")
_LONGEST_WAIT = 30.0
logger = logging.getLogger(__name__)


class HTTPSearch(TextSearch):
    """Asks a server, and reads whatever list of titles, links and snippets its JSON reply holds.

    So it reads the original's own form (``data``), SearXNG and Tavily (``results``), Serper (``organic``), Google's
    (``items``), Brave's (``web.results``) and others: the first list of objects that have a title and a link.

    A query that was answered is answered from the cache from then on, whoever asks: episodes are repeatable, and
    ``offline`` proves it. Threads may share one, and a pickle has a rate limit of its own.

    Args:
        url: Where to ask. With ``{query}`` in it (and ``{count}``) by GET; otherwise by POST with
            ``{"query": ..., "count": ...}``.
        cache: The file of answers; ``None`` for none.
        headers: Headers of each request, such as a key; they are in no record.
        per_second: How many requests are begun in a second at most.
        tries: How often a request is sent at most.
        seconds: How long a reply may take.
        offline: Answer from the cache alone.

    Raises:
        UsageError: The URL is none of HTTP; the cache cannot be opened; or ``offline`` without a cache.
    """

    def __init__(
        self,
        url: str,
        *,
        cache: str | Path | None = None,
        headers: Mapping[str, str] | None = None,
        per_second: float = 10.0,
        tries: int = 5,
        seconds: float = 30.0,
        offline: bool = False,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"HTTPSearch: url is {quoted(url)}; give one that begins with http:// or https://")
        if offline and cache is None:
            raise UsageError("HTTPSearch: offline=True needs a cache; give the file of an earlier run")
        if not per_second > 0 or tries < 1 or not seconds > 0:
            raise UsageError(f"HTTPSearch: {per_second=}, {tries=}, {seconds=}: give positive numbers")
        self.url, self.headers, self.offline = url, dict(headers or {}), offline
        self._cache = None if cache is None else SearchCache(cache)
        self._interval, self._tries, self._seconds = 1 / per_second, tries, seconds
        self._lock = threading.Lock()
        self._next = 0.0

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock, self._next = threading.Lock(), 0.0

    def __repr__(self) -> str:
        return f"HTTPSearch({self.url!r})"

    def search(self, query: str, count: int = MAX_RESULTS) -> Sequence[WebResult]:
        """Return what the cache or the server has for a query; see ``TextSearch.search``."""
        key = hashlib.sha256(json.dumps([self.url, query, count]).encode()).hexdigest()
        known = self._cache.get(key) if self._cache else None
        if known is None:
            if self.offline:
                raise SearchError("the search is offline, and this query was never answered")
            results = list(found(self._ask(query, count)))[:count]
            known = json.dumps([asdict(result) for result in results])
            if self._cache:
                known = self._cache.put(key, known)
        return [WebResult(**row) for row in json.loads(known)]

    def _ask(self, query: str, count: int) -> Any:
        data = None
        url = self.url.replace(_QUERY, quote(query, safe="", errors="replace")).replace(_COUNT, str(count))
        headers = {"Accept": "application/json", **self.headers}
        if _QUERY not in self.url:
            data = json.dumps({"query": query, "count": count}).encode()
            headers["Content-Type"] = "application/json"
        for sent in range(1, self._tries + 1):
            self._take_turn()
            wait = min(0.1 * 2**sent, _LONGEST_WAIT) * random.uniform(0.5, 1.0)
            try:
                with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=self._seconds) as reply:
                    text = reply.read(MAX_BYTES + 1)
                if len(text) > MAX_BYTES:
                    raise SearchError(f"the search's reply is longer than {MAX_BYTES} bytes")
                return json.loads(text)
            except urllib.error.HTTPError as error:
                problem = f"status {error.code}"
                if error.code < 500 and error.code not in (408, 429):
                    break
                wait = _asked_wait(error.headers.get("Retry-After"), wait)
            except (OSError, http.client.HTTPException, ValueError) as error:
                problem = type(error).__name__
            logger.info("search: %s; try %d of %d", problem, sent, self._tries)
            if sent < self._tries:
                time.sleep(wait)
        logger.warning("search: %s does not answer: %s", self.url, problem)
        raise SearchError(f"the search does not answer ({problem}); go on without it, or try again later")

    def _take_turn(self) -> None:
        with self._lock:
            now = time.monotonic()
            turn = max(now, self._next)
            self._next = turn + self._interval
        time.sleep(turn - now)


def _asked_wait(written: str | None, otherwise: float) -> float:
    return min(float(written), _LONGEST_WAIT) if written and written.isdigit() else otherwise


def found(reply: Any) -> Iterator[WebResult]:
    """Yield the results of a reply: those of the first list in it whose objects have a title and a link."""
    layer = [reply]
    while layer:
        below: list[Any] = []
        for node in layer:
            if isinstance(node, list):
                results = [result for row in node if isinstance(row, dict) and (result := _result(row))]
                if results:
                    yield from results
                    return
            below += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
        layer = below


def _result(row: Mapping[str, Any]) -> WebResult | None:
    title, link, snippet, date = (_text(row, names) for names in (_TITLES, _LINKS, _SNIPPETS, _DATES))
    return WebResult(title[:MAX_TITLE], link[:MAX_LINK], snippet[:MAX_SNIPPET], date[:40]) if title and link else None


def _text(row: Mapping[str, Any], names: Sequence[str]) -> str:
    written = (row.get(name) for name in names)
    return next((text.strip() for text in written if isinstance(text, str) and text.strip()), "")
