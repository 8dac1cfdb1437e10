"""SearchCache: answers of a search on disk, so that an episode that is played again finds the same."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepeyes_env.errors import UsageError

_TABLE = "CREATE TABLE IF NOT EXISTS searches (key TEXT PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID"
_MAX_WAIT = 30.0  # seconds that a writer waits for the others


class SearchCache:
    """Answers by key in one SQLite file; several threads and processes may share it.

    Args:
        path: The file; made, with its folder, if there is none.

    Raises:
        UsageError: The file cannot be opened, or is something else than such a cache.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as connection:
                connection.execute(_TABLE)
                connection.execute("SELECT key, answer FROM searches LIMIT 1")
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"SearchCache({str(path)!r}): {error}; give another file, or delete this one") from error

    def get(self, key: str) -> str | None:
        """Return the answer of a key, ``None`` if there is none."""
        with self._open() as connection:
            row = connection.execute("SELECT answer FROM searches WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, answer: str) -> str:
        """Store an answer, and return the one that stands: the first that was stored for a key stays."""
        with self._open() as connection:
            connection.execute("INSERT OR IGNORE INTO searches VALUES (?, ?)", (key, answer))
            return str(connection.execute("SELECT answer FROM searches WHERE key = ?", (key,)).fetchone()[0])

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.path, timeout=_MAX_WAIT)
        try:
            with connection:
                yield connection
        finally:
            connection.close()
