"""SearchCache: answers of a search on disk, so that an episode that is played again finds the same."""

from __future__ import annotations

from pathlib import Path

from deepeyes_env.sqlite_file import SQLiteFile


class SearchCache:
    """Answers by key in one SQLite file; several threads and processes may share it.

    Args:
        path: The file; made, with its folder, if there is none.

    Raises:
        UsageError: The file cannot be opened, or is something else than such a cache.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = SQLiteFile(path, table="searches", value="answer TEXT", owner="SearchCache")
        self.path = self._file.path

    def get(self, key: str) -> str | None:
        """Return the answer of a key, ``None`` if there is none."""
        with self._file.open() as connection:
            row = connection.execute("SELECT answer FROM searches WHERE key = ?", (key,)).fetchone()
        return None if row is None else str(row[0])

    def put(self, key: str, answer: str) -> str:
        """Store an answer, and return the one that stands: the first that was stored for a key stays."""
        with self._file.open() as connection:
            connection.execute("INSERT OR IGNORE INTO searches VALUES (?, ?)", (key, answer))
            return str(connection.execute("SELECT answer FROM searches WHERE key = ?", (key,)).fetchone()[0])
