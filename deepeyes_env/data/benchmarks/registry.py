"""The benchmarks that an evaluation knows by name, and how each one's files become samples."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

from deepeyes_env.core import Sample
from deepeyes_env.data.benchmarks import mathvista, mme_realworld, pope, refcoco
from deepeyes_env.data.benchmarks.transforms import CYCLE_COLUMN, Circular, Rotated, first_readable
from deepeyes_env.data.dataset import BUILT_IN, PATTERN_SEARCH, VISUAL_SEARCH, Dataset, load
from deepeyes_env.data.vlmevalkit import REQUIRED_COLUMNS, TSVDataset
from deepeyes_env.data.vstar import VStarDataset
from deepeyes_env.errors import DataError, UsageError

Metric: TypeAlias = Literal["choice", "open", "yes_no", "box", "math"]
"""What an answer is, and so what is reported.

``choice``: one of the options; ``open``: a few words; ``yes_no``: accuracy, precision, recall, F1 and yes-ratio;
``box``: intersection over union, right from 0.5 on; ``math``: a number or an expression.
"""

StandardJudge: TypeAlias = Literal["rules", "math", "yes_no", "box"]
"""Which judge decides unless another is asked for; ``deepeyes_env.judges.standard.standard_judge`` makes it."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What an evaluation has to know about a benchmark besides its samples.

    Attributes:
        name: Its name on the command line.
        title: Its name in reports.
        format: The files that are read.
        metric: See ``Metric``.
        judge: See ``StandardJudge``.
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
    judge: StandardJudge
    categories: tuple[str, ...] = ("category",)
    tools: tuple[str, ...] = ()
    grouped: bool = False


@dataclass(frozen=True, slots=True)
class _Entry:
    benchmark: Benchmark
    open: Callable[[Path], Dataset]
    suffixes: tuple[str, ...]
    folder: bool = False


_TSV = f"a VLMEvalKit .tsv (columns {', '.join(REQUIRED_COLUMNS)}, and A, B, ... for options)"
_HR_BENCH = f"{{}}: {_TSV}, category, and cycle_category where rows are cycled already"
_CYCLES = ("category", CYCLE_COLUMN)
_NO_FILES = "none: built in"
_JSON_AND_PARQUET = (".json", ".jsonl", ".parquet", ".tsv")


def _open_vstar(path: Path) -> Dataset:
    return VStarDataset(path) if path.is_dir() else TSVDataset(path)


def _entries() -> tuple[_Entry, ...]:
    return (
        _Entry(
            Benchmark(
                "vstar",
                "V* Bench",
                "the folder that holds direct_attributes/ and relative_position/ (an image and a .json of the same "
                f"stem for each question), or VStarBench.tsv: {_TSV}",
                "choice",
                "rules",
            ),
            _open_vstar,
            (".tsv",),
            folder=True,
        ),
        _Entry(
            Benchmark("hrbench_4k", "HR-Bench 4K", _HR_BENCH.format("hr_bench_4k.tsv"), "choice", "rules", _CYCLES),
            load,
            (".tsv",),
        ),
        _Entry(
            Benchmark("hrbench_8k", "HR-Bench 8K", _HR_BENCH.format("hr_bench_8k.tsv"), "choice", "rules", _CYCLES),
            load,
            (".tsv",),
        ),
        _Entry(
            Benchmark(
                "mme_realworld_lite",
                "MME-RealWorld-Lite",
                mme_realworld.FORMAT,
                "choice",
                "rules",
                ("task", "subtask", "category"),
            ),
            mme_realworld.open_mme_realworld,
            (".json", ".tsv"),
        ),
        _Entry(Benchmark("refcoco", "refCOCO", refcoco.FORMAT, "box", "box"), refcoco.open_refcoco, _JSON_AND_PARQUET),
        _Entry(
            Benchmark("pope", "POPE", pope.FORMAT, "yes_no", "yes_no"), pope.open_pope, _JSON_AND_PARQUET, folder=True
        ),
        _Entry(
            Benchmark(
                "mathvista",
                "MathVista",
                mathvista.FORMAT,
                "math",
                "math",
                ("task", "skills", "question_type", "answer_type", "category", "context", "grade"),
            ),
            mathvista.open_mathvista,
            (".json", ".parquet", ".tsv"),
        ),
        _Entry(Benchmark("tsv", "VLMEvalKit TSV", _TSV, "open", "rules"), load, (".tsv",)),
        _Entry(
            Benchmark(
                "jsonl",
                "JSONL",
                "a .jsonl file, one object a line: question, answer, images, and if you like id, options, boxes, "
                "metadata",
                "open",
                "rules",
            ),
            load,
            (".jsonl",),
        ),
        _Entry(Benchmark(VISUAL_SEARCH, "Visual search", _NO_FILES, "open", "rules", ("task", "easy")), load, ()),
        _Entry(Benchmark(PATTERN_SEARCH, "Pattern search", _NO_FILES, "open", "rules", ("easy",)), load, ()),
    )


_ENTRIES: Mapping[str, _Entry] = {entry.benchmark.name: entry for entry in _entries()}
_ANY_DATA = ("tsv", "jsonl", *BUILT_IN)
"""Benchmarks whose metric depends on their samples."""


def benchmarks() -> tuple[Benchmark, ...]:
    """Return all benchmarks known by name."""
    return tuple(entry.benchmark for entry in _ENTRIES.values())


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
        ValueError: No benchmark has that name (the message names the nearest); ``data`` is missing, or given to
            a built-in task; ``circular`` for a benchmark without options.
    """
    entry = _entry(name)
    dataset = load(data) if data is not None and not isinstance(data, str | Path) else _open(entry, data)
    if not len(dataset):
        raise DataError(f"{data}: holds no samples. {entry.benchmark.title} is read from {entry.benchmark.format}")
    benchmark = entry.benchmark
    if benchmark.name in _ANY_DATA and (first := first_readable(dataset)) and first.options:
        benchmark = replace(benchmark, metric="choice")
    if circular:
        dataset, benchmark = Circular(dataset), replace(benchmark, grouped=True)
        if not dataset.cycles:
            raise UsageError(f"circular: {benchmark.title} has no options to cycle; leave it out")
    if rotated:
        dataset, benchmark = Rotated(dataset, seed), replace(benchmark, tools=("image_rotate_tool",))
    return benchmark, dataset


def _entry(name: str) -> _Entry:
    wanted = _key(name)
    for known, entry in _ENTRIES.items():
        if _key(known) == wanted:
            return entry
    near = difflib.get_close_matches(wanted, map(_key, _ENTRIES), n=1)
    hint = next((f"; did you mean {known}?" for known in _ENTRIES if _key(known) in near), ";")
    raise UsageError(f"unknown benchmark {name!r}{hint} Known benchmarks: {', '.join(_ENTRIES)}")


def _key(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _open(entry: _Entry, data: str | Path | None) -> Dataset:
    benchmark = entry.benchmark
    if benchmark.name in BUILT_IN:
        if data is not None:
            raise UsageError(f"{benchmark.title} is built in and reads no data; leave out {str(data)!r}")
        return load(benchmark.name, split="test")
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


def _inside(folder: Path, entry: _Entry) -> str:
    found = [str(path) for path in sorted(folder.iterdir()) if path.suffix.lower() in entry.suffixes][:3]
    return f"; did you mean {' or '.join(found)}?" if found else "."
