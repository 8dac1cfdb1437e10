"""What a data set is, and ``load``, which makes one of whatever names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeGuard, runtime_checkable

from deepeyes_env.core import Sample
from deepeyes_env.data.jsonl import JSONLDataset
from deepeyes_env.data.map_style import MapStyle, MapStyleDataset, sample_of
from deepeyes_env.data.parquet import ParquetDataset
from deepeyes_env.data.rows import OnError, RowDataset
from deepeyes_env.data.vlmevalkit import TSVDataset
from deepeyes_env.data.vstar import CATEGORIES, VStarDataset
from deepeyes_env.errors import DataError, UsageTypeError
from deepeyes_env.registry import nearest

VISUAL_SEARCH, PATTERN_SEARCH = "visual_search", "pattern_search"
"""Names of built-in procedural tasks: the whole one, and the easy one that the tiny policy plays."""

IMAGE_SEARCH, PATTERN_PAIRS, NESTED_SEARCH = "image_search", "pattern_pairs", "nested_search"
"""Over several images, over two images as easy as ``PATTERN_SEARCH``, and with details that take two zooms."""

CODE_SEARCH = "code_search"
"""What takes a program or a text search."""

BUILT_IN = (VISUAL_SEARCH, PATTERN_SEARCH, IMAGE_SEARCH, PATTERN_PAIRS, NESTED_SEARCH, CODE_SEARCH)

_READERS: Mapping[str, Callable[..., Dataset]] = {
    ".parquet": ParquetDataset,
    ".tsv": TSVDataset,
    ".jsonl": JSONLDataset,
}

_ACCEPTED = (
    f"the built-in {', '.join(map(repr, BUILT_IN))}; a .parquet file or a folder of them (DeepEyes format); "
    f"a .tsv file (VLMEvalKit); a .jsonl file; a V* folder (with {' or '.join(CATEGORIES)}); a sequence of Samples or "
    "of mappings with their fields; or anything with __len__ and __getitem__ that gives such rows"
)


@runtime_checkable
class Dataset(Protocol):
    """Samples by number.

    A data set may have an attribute ``view``, the ``ViewBudget`` or ``None`` that it
    recommends for showing its images; files have none.
    """

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, index: int, /) -> Sample:
        """Return one sample; raises ``IndexError`` past the end and ``DataError`` for a bad row of a file."""
        ...

    def __iter__(self) -> Iterator[Sample]:
        """Go through the samples in order."""
        ...


Source: TypeAlias = str | Path | Dataset | MapStyle | Sequence[Sample] | Sequence[Mapping[str, Any]] | Mapping[str, Any]
"""Whatever ``load`` makes a data set of."""


def load(
    source: Source, *, on_error: OnError = "raise", image_root: str | Path | None = None, **options: Any
) -> Dataset:
    """Make a data set of whatever names or holds one.

    Args:
        source: The name of a built-in task (``BUILT_IN``); a ``.parquet``, ``.tsv`` or ``.jsonl`` file; a folder of
            parquet files or in the layout of V*; a data set; a sequence of samples or of mappings with their fields;
            or anything with ``__len__`` and ``__getitem__`` that gives such rows (``MapStyleDataset``);
            or the settings of a built-in task as a mapping: what is left of a ``VisualSearch`` in a spec's JSON.
        on_error: What to do about a bad row of a file: ``"raise"`` when it is read, or ``"skip"``, which reads the
            whole file once, leaves bad rows out, lists them in ``skipped`` and logs how many there are by reason.
        image_root: One more folder in which the images of a file may lie, beside the file's own: a data set is treated
            as if a stranger had sent it, so that no name in it opens anything else.
        options: Passed to a built-in task; nothing else takes any.

    Raises:
        DataError: There is no such data set (the message says what is accepted and what has a similar name), a file
            cannot be read, or there are no samples in it.
        UsageTypeError: ``source`` is of another type, or does not take ``options``.
    """
    dataset = _open(source, on_error, image_root, options)
    if not len(dataset):
        skipped = len(getattr(dataset, "skipped", ()))
        raise DataError(f"{_named(source)}: has no samples" + (f"; all {skipped} rows were bad" if skipped else ""))
    return dataset


def _open(source: Source, on_error: OnError, image_root: str | Path | None, options: dict[str, Any]) -> Dataset:
    if isinstance(source, str) and source in BUILT_IN:
        from deepeyes_env.data.visual_search import built_in

        return built_in(source, **options)
    if options:
        raise UsageTypeError(f"{_named(source)} takes no options, got {', '.join(options)}")
    if isinstance(source, str) and not source:
        raise DataError(f"the name of the data set is empty; accepted: {_ACCEPTED}")
    if isinstance(source, Mapping):
        from deepeyes_env.data.visual_search import of_settings

        return of_settings(source)
    if isinstance(source, str | Path):
        return _open_path(Path(source).expanduser(), on_error, image_root)
    if isinstance(source, Sequence):
        return tuple(sample_of(row, type(source).__name__, index) for index, row in enumerate(source))
    if _gives_samples(source):
        return source
    if isinstance(source, MapStyle):
        return MapStyleDataset(source)
    raise UsageTypeError(f"cannot make a data set of {type(source).__name__}; accepted: {_ACCEPTED}")


def _named(source: object) -> str:
    return str(source) if isinstance(source, str | Path) else type(source).__name__


def _gives_samples(source: object) -> TypeGuard[Dataset]:
    """Whether something is a data set as it is: its first row is a sample, not a mapping."""
    if not isinstance(source, Dataset):
        return False
    try:
        return isinstance(source, RowDataset) or not len(source) or isinstance(source[0], Sample)
    except DataError:  # a bad row is told when it is asked for
        return True


def _open_path(path: Path, on_error: OnError, image_root: str | Path | None) -> Dataset:
    if path.is_dir():
        return _folder_reader(path)(path, on_error=on_error, image_root=image_root)
    if not path.exists():
        raise DataError(
            f"no data set {str(path)!r}: there is no such file or folder.{_hint(path)} Accepted: {_ACCEPTED}"
        )
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"cannot read {str(path)!r}: unknown kind {path.suffix!r}.{_hint(path)} Accepted: {_ACCEPTED}")
    return reader(path, on_error=on_error, **({} if reader is TSVDataset else {"image_root": image_root}))


def _folder_reader(folder: Path) -> Callable[..., Dataset]:
    if any((folder / category).is_dir() for category in CATEGORIES):
        return VStarDataset
    if any(folder.glob("*.parquet")):
        return ParquetDataset
    inside = [str(path) for path in sorted(folder.iterdir()) if _is_loadable(path)]
    hint = f" Did you mean {' or '.join(inside[:3])}?" if inside else ""
    raise DataError(
        f"folder {str(folder)!r} holds no .parquet file and is not a V* folder.{hint} Accepted: {_ACCEPTED}"
    )


def _is_loadable(path: Path) -> bool:
    if path.is_dir():
        return any(path.glob("*.parquet")) or any((path / category).is_dir() for category in CATEGORIES)
    return path.suffix.lower() in _READERS


def _hint(path: Path) -> str:
    """Name what is near ``path`` in name and can be loaded."""
    beside = list(path.parent.iterdir()) if path.parent.is_dir() else []
    found = {other.name: str(other) for other in beside if _is_loadable(other)}
    near = nearest(path.name, [*found, *BUILT_IN], n=3)
    return f" Did you mean {' or '.join(found.get(name, name) for name in near)}?" if near else ""
