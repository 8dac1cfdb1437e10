"""The benchmarks that ship with the package; importing this registers them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from deepeyes_env.data.benchmarks import mathvista, mme_realworld, mmsearch, pope, refcoco
from deepeyes_env.data.benchmarks.registry import BENCHMARKS, Benchmark, register_benchmark
from deepeyes_env.data.benchmarks.transforms import CYCLE_COLUMN
from deepeyes_env.data.dataset import (
    CODE_SEARCH,
    IMAGE_SEARCH,
    NESTED_SEARCH,
    PATTERN_PAIRS,
    PATTERN_SEARCH,
    VISUAL_SEARCH,
    Dataset,
    load,
)
from deepeyes_env.data.vlmevalkit import REQUIRED_COLUMNS, TSVDataset
from deepeyes_env.data.vstar import VStarDataset

_TSV = f"a VLMEvalKit .tsv (columns {', '.join(REQUIRED_COLUMNS)}, and A, B, ... for options)"
_HR_BENCH = f"{{}}: {_TSV}, category, and cycle_category where rows are cycled already"
_CYCLES = ("category", CYCLE_COLUMN)
_NO_FILES = "none: built in"
_JSON_AND_PARQUET = (".json", ".jsonl", ".parquet", ".tsv")


def _open_vstar(path: Path) -> Dataset:
    return VStarDataset(path) if path.is_dir() else TSVDataset(path)


register_benchmark(
    Benchmark(
        "vstar",
        "V* Bench",
        "the folder that holds direct_attributes/ and relative_position/ (an image and a .json of the same "
        f"stem for each question), or VStarBench.tsv: {_TSV}",
        "choice",
        "rules",
    ),
    _open_vstar,
    suffixes=(".tsv",),
    folder=True,
)
register_benchmark(
    Benchmark("hrbench_4k", "HR-Bench 4K", _HR_BENCH.format("hr_bench_4k.tsv"), "choice", "rules", _CYCLES),
    load,
    suffixes=(".tsv",),
)
register_benchmark(
    Benchmark("hrbench_8k", "HR-Bench 8K", _HR_BENCH.format("hr_bench_8k.tsv"), "choice", "rules", _CYCLES),
    load,
    suffixes=(".tsv",),
)
register_benchmark(
    Benchmark(
        "mme_realworld_lite",
        "MME-RealWorld-Lite",
        mme_realworld.FORMAT,
        "choice",
        "rules",
        ("task", "subtask", "category"),
    ),
    mme_realworld.open_mme_realworld,
    suffixes=(".json", ".tsv"),
)
register_benchmark(
    Benchmark("refcoco", "refCOCO", refcoco.FORMAT, "box", "box"), refcoco.open_refcoco, suffixes=_JSON_AND_PARQUET
)
register_benchmark(
    Benchmark("pope", "POPE", pope.FORMAT, "yes_no", "yes_no", (pope.SPLIT,)),
    pope.open_pope,
    suffixes=_JSON_AND_PARQUET,
    folder=True,
)
register_benchmark(
    Benchmark(
        "mathvista",
        "MathVista",
        mathvista.FORMAT,
        "math",
        "math",
        ("task", "skills", "question_type", "answer_type", "category", "context", "grade"),
    ),
    mathvista.open_mathvista,
    suffixes=(".json", ".parquet", ".tsv"),
)
register_benchmark(
    Benchmark("mmsearch", "MMSearch", mmsearch.FORMAT, "open", "rules", ("area", "subfield")),
    mmsearch.open_mmsearch,
    suffixes=(".json", ".jsonl"),
)
register_benchmark(Benchmark("tsv", "VLMEvalKit TSV", _TSV, "open", "rules"), load, suffixes=(".tsv",))
register_benchmark(
    Benchmark(
        "jsonl",
        "JSONL",
        "a .jsonl file, one object a line: question, answer, images, and if you like id, options, boxes, metadata",
        "open",
        "rules",
    ),
    load,
    suffixes=(".jsonl",),
)
for _name, _title, _categories in (
    (VISUAL_SEARCH, "Visual search", ("task", "easy")),
    (PATTERN_SEARCH, "Pattern search", ("easy",)),
    (IMAGE_SEARCH, "Search in several images", ("task", "images", "easy")),
    (PATTERN_PAIRS, "Pattern search in two images", ("easy",)),
    (NESTED_SEARCH, "Nested search", ("easy",)),
    (CODE_SEARCH, "Code search", ("task", "needs")),
):
    register_benchmark(
        Benchmark(_name, _title, _NO_FILES, "open", "rules", _categories), partial(load, _name, split="test")
    )
BENCHMARKS.protect()
