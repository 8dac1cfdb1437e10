"""JudgementCache: judgements of a model on disk, so that no answer is judged twice."""

from __future__ import annotations

import logging
import sqlite3
from pathlib import Path

from deepeyes_env.sqlite_file import SQLiteFile

logger = logging.getLogger(__name__)


class JudgementCache:
    """Scores by key in one SQLite file; several threads and processes may share it.

    A cache that stops working is logged and costs only repeated questions.

    Args:
        path: The file; made, with its folder, if there is none.

    Raises:
        UsageError: The file cannot be opened, or is something else than such a cache.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = SQLiteFile(path, table="judgements", value="score REAL", owner="JudgementCache")
        self.path = self._file.path

    def get(self, key: str) -> float | None:
        """Return the score of a key, ``None`` if there is none.

        Anything but a number from 0 to 1 was not stored by this class: it is logged and removed, so that the question
        is asked again.
        """
        try:
            with self._file.open() as connection:
                row = connection.execute("SELECT score FROM judgements WHERE key = ?", (key,)).fetchone()
                if row is None or (isinstance(row[0], int | float) and 0 <= row[0] <= 1):
                    return None if row is None else float(row[0])
                connection.execute("DELETE FROM judgements WHERE key = ? AND score IS ?", (key, row[0]))
        except sqlite3.Error as error:
            logger.warning("%s cannot be read: %s", self.path, error)
            return None
        logger.warning("%s holds %.80r as a score; it must be from 0 to 1, and is asked for again", self.path, row[0])
        return None

    def put(self, key: str, score: float) -> None:
        """Store a score; the first one that was stored for a key stays."""
        try:
            with self._file.open() as connection:
                connection.execute("INSERT OR IGNORE INTO judgements VALUES (?, ?)", (key, score))
        except sqlite3.Error as error:
            logger.warning("%s cannot be written: %s", self.path, error)
