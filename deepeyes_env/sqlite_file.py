"""SQLiteFile: values by key in one file that several threads and processes share."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepeyes_env.errors import UsageError

_MAX_WAIT = 30.0  # seconds that a writer waits for the others


class SQLiteFile:
    """One table of keys and values. Each operation opens the file anew: nothing is carried over a fork or to a thread.

    Args:
        path: The file; made, with its folder, if there is none.
        table: Name of the table.
        value: Name and type of the value's column.
        owner: Whose file it is, as errors name it.

    Raises:
        UsageError: The file cannot be opened, or holds something else.
    """

    def __init__(self, path: str | Path, *, table: str, value: str, owner: str) -> None:
        self.path = Path(path).absolute()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.open() as connection:
                connection.execute(
                    f"CREATE TABLE IF NOT EXISTS {table} (key TEXT PRIMARY KEY, {value} NOT NULL) WITHOUT ROWID"
                )
                connection.execute(f"SELECT key, {value.split()[0]} FROM {table} LIMIT 1")
        except (OSError, sqlite3.Error) as error:
            raise UsageError(f"{owner}({str(path)!r}): {error}; give another file, or delete this one") from error

    @contextmanager
    def open(self) -> Iterator[sqlite3.Connection]:
        """Open the file for one transaction."""
        connection = sqlite3.connect(self.path, timeout=_MAX_WAIT)
        try:
            # Survives a killed process, not a power cut; waiting for the disk would cost 1 to 20 ms a value.
            connection.execute("PRAGMA synchronous = OFF")
            with connection:
                yield connection
        finally:
            connection.close()
