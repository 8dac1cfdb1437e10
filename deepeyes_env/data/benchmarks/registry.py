"""The benchmarks that an evaluation knows by name, and how each one's files become samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, TypeVar, overload

from deepeyes_env.core import Sample
from deepeyes_env.data.benchmarks.transforms import Circular, Rotated, first_readable
from deepeyes_env.data.dataset import Dataset, load
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.registry import Registry, letters_and_digits

Metric: TypeAlias = Literal["choice", "open", "yes_no", "box", "math"]
"""What an answer is, and so what is reported.

``choice``: one of the options; ``open``: a few words, or one of the options if the samples have any; ``yes_no``:
accuracy, precision, recall, F1 and yes-ratio; ``box``: intersection over union, right from 0.5 on; ``math``: a number
or an expression.
"""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What an evaluation has to know about a benchmark besides its samples.

    Attributes:
        name: Its name on the command line.
        title: Its name in reports.
        format: The files that are read.
        metric: See ``Metric``.
        judge: Name of the judge that decides unless another is asked for; ``deepeyes_env.judges.make_judge`` makes it.
        categories: Keys in ``Sample.metadata`` by which accuracy is broken down. A sample may lack some; where the
            value is a list (MathVista's skills), the sample counts under each item.
        tools: Tools that the prompt must describe for the benchmark to mean anything (``rotated``).
        grouped: Samples with the same ``metadata["group"]`` are one question: also report how many were right in all
            orders of their options (``circular``).
    """

    name: str
    title: str
    format: str
    metric: Metric
    judge: str
    categories: tuple[str, ...] = ("category",)
    tools: tuple[str, ...] = ()
    grouped: bool = False


@dataclass(frozen=True, slots=True)
class BenchmarkEntry:
    """A benchmark, and how its files become samples.

    Attributes:
        benchmark: What an evaluation has to know about it.
        open: Makes its samples of the path of its data, or of nothing if it reads none.
        suffixes: What names of its files end with.
        folder: Whether a folder is read too.
    """

    benchmark: Benchmark
    open: Callable[..., Dataset]
    suffixes: tuple[str, ...] = ()
    folder: bool = False

    @property
    def reads_data(self) -> bool:
        """Whether it is read from a file or a folder."""
        return bool(self.suffixes or self.folder)


BENCHMARKS: Registry[BenchmarkEntry] = Registry("benchmark", spelling=letters_and_digits)
"""Every benchmark by name; case and punctuation do not matter."""


_Open = TypeVar("_Open", bound=Callable[..., Dataset])


@overload
def register_benchmark(
    benchmark: Benchmark, open: None = None, *, suffixes: Sequence[str] = (), folder: bool = False
) -> Callable[[_Open], _Open]: ...


@overload
def register_benchmark(
    benchmark: Benchmark, open: _Open, *, suffixes: Sequence[str] = (), folder: bool = False
) -> _Open: ...


def register_benchmark(
    benchmark: Benchmark,
    open: Callable[..., Dataset] | None = None,
    *,
    suffixes: Sequence[str] = (),
    folder: bool = False,
) -> Any:
    """Make a benchmark known by its name; without ``open``, return a decorator that does.

    Args:
        benchmark: What an evaluation has to know about it.
        open: Makes its samples of the path of its data; a list of samples is a data set too. It is called without an
            argument if no data are read: there are neither ``suffixes`` nor a ``folder``.
        suffixes: What names of its files end with.
        folder: Whether a folder is read too.

    Raises:
        UsageError: A benchmark of the package has that name.
    """
    if open is None:
        return lambda function: register_benchmark(benchmark, function, suffixes=suffixes, folder=folder)
    BENCHMARKS.register(benchmark.name, BenchmarkEntry(benchmark, open, tuple(suffixes), folder))
    return open


def benchmarks() -> tuple[Benchmark, ...]:
    """Return all benchmarks known by name."""
    return tuple(entry.benchmark for entry in BENCHMARKS.values())


def open_benchmark(
    name: str,
    data: str | Path | Dataset | Sequence[Sample] | None = None,
    *,
    rotated: bool = False,
    circular: bool = False,
    seed: int = 0,
) -> tuple[Benchmark, Dataset]:
    """Open a benchmark's files.

    Args:
        name: One of ``benchmarks``; case and ``-``, ``_`` or spaces do not matter.
        data: The file or folder, or samples already made; for the built-in tasks, which read no files, ``None``.
        rotated: Turn each image by an angle drawn from ``seed`` and the sample's id; see ``Rotated``.
        circular: Ask each question once for each option, with the options cycled, in a fixed order; see
            ``Circular``.
        seed: Seeds the angles.

    Raises:
        DataError: There is no such file, it has not the benchmark's format (the message says what was found and what
            is expected), or it holds no samples.
        UnknownNameError: No benchmark has that name; the message has the nearest one.
        UsageError: ``data`` is missing, or given to a built-in task; ``circular`` for a benchmark without options.
    """
    entry = BENCHMARKS.get(name)
    dataset = load(data) if data is not None and not isinstance(data, str | Path) else _open(entry, data)
    if not len(dataset):
        raise DataError(f"{data}: holds no samples. {entry.benchmark.title} is read from {entry.benchmark.format}")
    benchmark = entry.benchmark
    if benchmark.metric == "open" and (first := first_readable(dataset)) and first.options:
        benchmark = replace(benchmark, metric="choice")
    if circular:
        dataset, benchmark = Circular(dataset), replace(benchmark, grouped=True)
        if not dataset.cycles:
            raise UsageError(f"circular: {benchmark.title} has no options to cycle; leave it out")
    if rotated:
        dataset, benchmark = Rotated(dataset, seed), replace(benchmark, tools=("image_rotate_tool",))
    return benchmark, dataset


def _open(entry: BenchmarkEntry, data: str | Path | None) -> Dataset:
    benchmark = entry.benchmark
    if not entry.reads_data:
        if data is not None:
            raise UsageError(f"{benchmark.title} is built in and reads no data; leave out {str(data)!r}")
        return entry.open()
    if data is None:
        raise UsageError(f"{benchmark.title} needs its data: {benchmark.format}")
    path = Path(data).expanduser()
    if path.is_dir() and not entry.folder:
        raise DataError(f"{path}: is a folder{_inside(path, entry)} {benchmark.title} is read from {benchmark.format}")
    if path.is_file() and path.suffix.lower() not in entry.suffixes:
        raise DataError(
            f"{path}: has the wrong kind {path.suffix!r}. {benchmark.title} is read from {benchmark.format}"
        )
    if not path.exists():
        raise DataError(f"{path}: there is no such file or folder. {benchmark.title} is read from {benchmark.format}")
    return entry.open(path)


def _inside(folder: Path, entry: BenchmarkEntry) -> str:
    found = [str(path) for path in sorted(folder.iterdir()) if path.suffix.lower() in entry.suffixes][:3]
    return f"; did you mean {' or '.join(found)}?" if found else "."
