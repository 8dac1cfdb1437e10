"""Checksums of a folder's files, kept beside them: a flipped byte is noticed before anything is computed with it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from deepeyes_env.errors import DataError
from deepeyes_env.strict_json import read_json

CHECKSUMS = "checksums.json"
"""The SHA-256 of each file in the folder, by its name."""


def write_checksums(folder: Path) -> None:
    """Write the checksums of the files that a folder holds now (not of those in folders inside it)."""
    checksums = {path.name: _sha256(path) for path in _files(folder)}
    (folder / CHECKSUMS).write_text(json.dumps(checksums, indent=2) + "\n", encoding="utf-8")


def listed_files(folder: Path) -> list[str]:
    """Return the names of the files in a folder that its checksums list, theirs last; none if they cannot be read."""
    try:
        listed = read_json((folder / CHECKSUMS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    if not isinstance(listed, dict):
        return []
    return [*(path.name for path in _files(folder) if path.name in listed), CHECKSUMS]


def verify_checksums(folder: Path) -> None:
    """Check the files of a folder against its checksums; a folder without any, such as a downloaded model, passes.

    Raises:
        DataError: A file has changed or is gone since they were written; the message names it.
    """
    file = folder / CHECKSUMS
    if not file.is_file():
        return
    try:
        expected = read_json(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DataError(f"{file}: is damaged ({error})") from error
    if not isinstance(expected, dict):
        raise DataError(f"{file}: is damaged (it is no object)")
    # Files are found by looking, not by the names in the list: a stranger's list may name any file.
    found = {path.name: path for path in _files(folder)}
    for name, checksum in expected.items():
        if name not in found or _sha256(found[name]) != checksum:
            what = "has changed since" if name in found else "is gone that was there when"
            raise DataError(
                f"{folder}: {name!r:.80} {what} its checksum was written; if that was on purpose, delete {CHECKSUMS}"
            )


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name != CHECKSUMS)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
