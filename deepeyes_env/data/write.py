"""``write``: samples to a file, in the format that its name tells; the counterpart of ``load``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.data.jsonl import write_jsonl
from deepeyes_env.data.parquet import write_parquet
from deepeyes_env.data.vlmevalkit import write_tsv
from deepeyes_env.errors import UsageError

WRITERS: Mapping[str, Callable[[Iterable[Sample], Path], Any]] = {
    ".jsonl": write_jsonl,
    ".parquet": write_parquet,
    ".tsv": write_tsv,
}
"""What writes each kind of file: JSONL with images beside it, DeepEyes-Datasets-47k, VLMEvalKit."""


def check_writable(path: str | Path) -> None:
    """Check that a file's name tells a format that is written.

    Raises:
        UsageError: It does not; the message has those that do.
    """
    if Path(path).suffix.lower() not in WRITERS:
        raise UsageError(f"{path}: unknown kind {Path(path).suffix!r}; name a file that ends in {', '.join(WRITERS)}")


def write(samples: Iterable[Sample], path: str | Path) -> None:
    """Write samples to a file; it appears whole or not at all.

    Args:
        samples: The samples. A ``.tsv`` is written by going through them twice, so that an iterator will not do.
        path: A ``.jsonl``, ``.parquet`` or ``.tsv`` file.

    Raises:
        UsageError: The file's name tells no such format.
        DataError: A sample has no place in the format.
    """
    check_writable(path)
    WRITERS[Path(path).suffix.lower()](samples, Path(path))
