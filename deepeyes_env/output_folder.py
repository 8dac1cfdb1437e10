"""OutputFolder: which folders a command of ours wrote, and what in them it may delete."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from deepeyes_env.files import is_temporary, refuse_file, replacing

MARKER = ".deepeyes_env"
"""File that marks a folder as ours; it names the kind."""

_OF_THE_SYSTEM = (".DS_Store", "Thumbs.db", "desktop.ini")
"""Files that desktops leave in any folder that was looked at: nobody's work."""


@dataclass(frozen=True, slots=True)
class OutputFolder:
    """What one kind of run writes into a folder of its own.

    Such a folder is recognised by a marker that only ``claim`` writes: other programs too call their files
    ``config.json`` or ``images``. Only files that the kind names are ever deleted; where there is any other, nothing
    is.

    Attributes:
        kind: What such a folder holds, in words; another kind has other ones.
        files: Patterns of its files, relative to the folder; ``*`` stands for anything, slashes included. They are
            deleted in this order.
    """

    kind: str
    files: tuple[str, ...]

    def is_at(self, folder: Path) -> bool:
        """Return whether a folder is marked as one of this kind."""
        return _kind_of(folder) == self.kind

    def check(self, folder: Path) -> None:
        """Check that a folder may be cleared: it does not exist, is empty, or holds what this kind writes and no more.

        Raises:
            FileExistsError: It is a file, is not marked as this kind, or holds another file; the message names it.
        """
        if is_vacant(folder):
            return
        self.check_marked(folder)
        foreign = next((name for name in _files(folder) if not self._writes(name)), None)
        if foreign is not None:
            raise FileExistsError(
                f"{folder}: holds {foreign}, which no {self.kind} writes; nothing is deleted, move it elsewhere or "
                "give another folder"
            )

    def check_marked(self, folder: Path) -> None:
        """Check that a folder that holds something is one of this kind.

        Raises:
            FileExistsError: It is not marked as this kind; the message names a file that it holds, and the kind that
                it is marked as.
        """
        marked = _kind_of(folder)
        if marked == self.kind:
            return
        holds = min((path.name for path in folder.iterdir() if not _is_nothing(path.name)), default="nothing")
        other = f"is marked as the folder of a {marked}, not" if marked else "is not marked as the folder"
        raise FileExistsError(
            f"{folder}: holds {holds} and {other} of a {self.kind} (by {MARKER}); it is left as it is, give another "
            "folder"
        )

    def claim(self, folder: Path) -> None:
        """Make a folder if it does not exist, and mark it; to be called before anything is written into it."""
        with replacing(folder / MARKER) as temporary:
            temporary.write_text(f"{self.kind}\n", encoding="utf-8")

    def clear(self, folder: Path) -> None:
        """Delete what this kind writes, but for the marker; whoever is interrupted can begin again.

        Raises:
            FileExistsError: See ``check``; nothing is deleted then.
        """
        self.check(folder)
        self.delete(folder)

    def delete(self, folder: Path) -> None:
        """Delete what this kind writes and nothing else, in a folder inside one that is marked as ours."""
        names = list(_files(folder))
        for pattern in self.files:
            for name in names:
                if fnmatchcase(name, pattern):
                    (folder / name).unlink(missing_ok=True)
        for name in names:
            if is_temporary(name):
                (folder / name).unlink(missing_ok=True)
        left = {parent for name in names for parent in Path(name).parents}
        left |= {Path(name) for name in _folders(folder) if self._writes_into(name)}
        _remove_empty({folder / each for each in left} - {folder})

    def inside(self, *folders: str) -> tuple[str, ...]:
        """Return the patterns of what this kind writes in folders inside that of another kind."""
        return tuple(f"{folder}/{pattern}" for folder in folders for pattern in self.files)

    def _writes(self, name: str) -> bool:
        return is_temporary(name) or any(fnmatchcase(name, pattern) for pattern in self.files)

    def _writes_into(self, name: str) -> bool:
        """Return whether files of this kind may be in a folder; a ``delete`` that was killed leaves it empty."""
        begun = {pattern[:end] for pattern in self.files for end in range(len(pattern)) if pattern[end] == "/"}
        begun |= {pattern[: end + 1] for pattern in self.files for end in range(len(pattern)) if pattern[end] == "*"}
        return self._writes(name) or any(fnmatchcase(name, pattern) for pattern in begun)


def is_vacant(folder: Path) -> bool:
    """Return whether a folder does not exist, or holds nothing but what a run leaves that was killed at once.

    Raises:
        FileExistsError: It is a file.
    """
    refuse_file(folder)
    return not folder.exists() or all(_is_nothing(path.name) for path in folder.iterdir())


def _is_nothing(name: str) -> bool:
    """Return whether a file in a folder is nobody's work."""
    return name in (MARKER, *_OF_THE_SYSTEM) or is_temporary(name)


def _kind_of(folder: Path) -> str:
    """Return the kind that a folder is marked as; empty if it is not marked."""
    try:
        return (folder / MARKER).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _files(folder: Path) -> Iterator[str]:
    """Give the files of a folder by their names relative to it, links to folders included."""
    for root, folders, files in os.walk(folder):
        links = [name for name in folders if Path(root, name).is_symlink()]
        for name in (*files, *links):
            path = Path(root, name)
            if name not in _OF_THE_SYSTEM and path != folder / MARKER:
                yield path.relative_to(folder).as_posix()


def _folders(folder: Path) -> Iterator[str]:
    """Give the folders in a folder by their names relative to it, links left out."""
    for root, folders, _ in os.walk(folder):
        for name in folders:
            if not Path(root, name).is_symlink():
                yield Path(root, name).relative_to(folder).as_posix()


def _remove_empty(folders: set[Path]) -> None:
    for folder in sorted(folders, key=lambda path: len(path.parts), reverse=True):
        try:
            folder.rmdir()
        except OSError:  # it holds something that was put there meanwhile
            continue
