"""``dataset_info.json``: in it LLaMA-Factory looks up what the files beside it are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from deepeyes_env.data.fields import checked, get
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.files import replacing

INFO = "dataset_info.json"


def entries_for(path: Path) -> dict[str, Any]:
    """Return the entries of the ``dataset_info.json`` beside a file, in which that file is to have one.

    Raises:
        DataError: There is a ``dataset_info.json`` that is none.
        UsageError: The name is that of another file's data set.
    """
    beside = path.with_name(INFO)
    info = _read_info(beside) if beside.exists() else {}
    entry = info.get(path.stem)
    if entry is not None:
        file = entry.get("file_name", "another source") if isinstance(entry, dict) else entry
        if file != path.name:
            raise UsageError(
                f"{beside}: the data set {path.stem!r} is that of {file!r}, not of {path.name!r}; export to a file of "
                "another name"
            )
    return info


def write_entry(path: Path, entry: Mapping[str, Any]) -> None:
    """Write the entry of a file's data set, which is called like the file, without its suffix; others stay.

    Raises:
        DataError: There is a ``dataset_info.json`` that is none.
        UsageError: The name is that of another file's data set.
    """
    info = {**entries_for(path), path.stem: {"file_name": path.name, **entry}}
    with replacing(path.with_name(INFO)) as temporary:
        temporary.write_text(json.dumps(info, indent=2) + "\n", encoding="utf-8")


def check_entry(path: Path, wanted: Mapping[str, Any]) -> None:
    """Check that a file's data set has its entry, and that LLaMA-Factory reads the file by it as it is meant.

    Raises:
        DataError: It has none, or another one.
    """
    info = _read_info(path.with_name(INFO))
    try:
        entry = get(info, path.stem, dict, "")
        for key, value in {"formatting": wanted["formatting"], "file_name": path.name, **wanted}.items():
            found = get(entry, key, type(value), path.stem)
            if found != value:
                raise ValueError(f"{path.stem}.{key} must be {_written(value)}, not {_written(found)}")
    except ValueError as error:
        raise DataError(f"{path.with_name(INFO)}: {error}") from error


def _written(value: Any) -> str:
    return repr(value) if isinstance(value, str) else json.dumps(value)


def _read_info(path: Path) -> dict[str, Any]:
    try:
        return checked(json.loads(path.read_text(encoding="utf-8")), dict, "it")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}); the data set's entry is there") from error
    except ValueError as error:
        raise DataError(f"{path}: is not an object of data sets ({error}); move it away") from error
