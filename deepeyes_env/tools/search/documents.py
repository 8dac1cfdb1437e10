"""FolderSearch: BM25 over a folder of documents, without a network.

SQLite's FTS5 does it: it is in the standard library, ranks by BM25, stems English, cuts the snippet, and can keep its
index in a file. bm25s and tantivy are faster on millions of documents, and would each be one more dependency.
"""

from __future__ import annotations

import json
import os
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.tools.search.results import MAX_RESULTS, SearchError, TextSearch, WebResult

_SUFFIXES = (".txt", ".md", ".jsonl")
_SNIPPET_TOKENS = 64  # FTS5 allows no more
_MAX_WORDS = 64
_TABLE = "CREATE VIRTUAL TABLE documents USING fts5(title, text, link UNINDEXED, tokenize='porter unicode61')"
_FIND = (
    f"SELECT title, link, snippet(documents, 1, '', '', ' ... ', {_SNIPPET_TOKENS}) FROM documents "
    "WHERE documents MATCH ? ORDER BY bm25(documents, 2.0, 1.0), rowid LIMIT ?"
)


class FolderSearch(TextSearch):
    """Searches the documents below a folder.

    A ``.txt`` or ``.md`` file is a document: its first line is the title (without ``#``), its path below the folder the
    link. A line of a ``.jsonl`` file is one too: ``{"title", "text", "link"}``, the last of them may be left out. Words
    that stand in the title count twice. Results are the same for the same folder, always.

    Threads may share it. The index is made with the first search, in memory; a pickle holds the folder's path.

    Args:
        folder: The folder.

    Raises:
        UsageError: It is no folder, or holds no documents.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder).absolute()
        if not self.folder.is_dir():
            raise UsageError(f"FolderSearch({str(folder)!r}): is no folder; give one with .txt, .md or .jsonl files")
        if next(self._files(), None) is None:
            raise UsageError(f"FolderSearch({str(folder)!r}): holds no {', '.join(_SUFFIXES)} files")
        self._lock = threading.Lock()
        self._index: sqlite3.Connection | None = None
        self._process = 0

    def __reduce__(self) -> tuple[Any, ...]:
        return FolderSearch, (self.folder,)

    def search(self, query: str, count: int = MAX_RESULTS) -> Sequence[WebResult]:
        """Return the documents that hold words of a query; see ``TextSearch.search``."""
        words = re.findall(r"\w+", query)[:_MAX_WORDS]
        if not words:
            return ()
        wanted = " OR ".join(f'"{word}"' for word in words)
        with self._lock:
            try:
                found = self._opened().execute(_FIND, (wanted, count)).fetchall()
            except sqlite3.Error as error:
                raise SearchError(f"the search failed: {error}") from error
        return [WebResult(title, link, " ".join(snippet.split())) for title, link, snippet in found]

    def _files(self) -> Iterator[Path]:
        return (path for path in sorted(self.folder.rglob("*")) if path.suffix in _SUFFIXES and path.is_file())

    def _opened(self) -> sqlite3.Connection:
        if self._index is None or self._process != os.getpid():  # SQLite's connections do not survive a fork
            index = sqlite3.connect(":memory:", check_same_thread=False)
            index.execute(_TABLE)
            index.executemany("INSERT INTO documents VALUES (?, ?, ?)", self._documents())
            self._index, self._process = index, os.getpid()
        return self._index

    def _documents(self) -> Iterator[tuple[str, str, str]]:
        for path in self._files():
            link = path.relative_to(self.folder).as_posix()
            text = path.read_text(encoding="utf-8", errors="replace")
            if path.suffix != ".jsonl":
                title = text.lstrip().partition("\n")[0].lstrip("# ").strip()
                yield title[:200] or path.stem, text, link
                continue
            for number, line in enumerate(filter(str.strip, text.splitlines()), 1):
                yield _row(line, f"{link}#{number}", path)


def _row(line: str, link: str, path: Path) -> tuple[str, str, str]:
    try:
        row = json.loads(line)
        return str(row["title"]), str(row["text"]), str(row.get("link") or link)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}, document {link}: needs title and text as JSON ({error})") from error
