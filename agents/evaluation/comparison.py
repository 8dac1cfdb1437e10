"""compare: two policies on the same questions, one question beside the other."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepeyes_env.agents.evaluation import comparison_page
from deepeyes_env.agents.evaluation.metrics import Estimate, accuracy, mean_scores, paired
from deepeyes_env.agents.evaluation.plan import CONDITIONS
from deepeyes_env.agents.evaluation.report_text import WITH, estimate, table, test_result
from deepeyes_env.agents.evaluation.rows import Row, disambiguated, read_rows, shared_ids
from deepeyes_env.agents.evaluation.run import Run, open_run
from deepeyes_env.agents.evaluation.score_file import judge_of
from deepeyes_env.agents.evaluation.statistics import PairedTest
from deepeyes_env.data.benchmarks import Benchmark
from deepeyes_env.errors import UsageError
from deepeyes_env.files import check_folder, replacing
from deepeyes_env.telling import markdown_text

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Side:
    """One of two runs, in one condition.

    Attributes:
        condition: ``on`` or ``off``.
        accuracy: Mean score over the questions that both runs answered.
    """

    condition: str
    accuracy: Estimate


@dataclass(frozen=True, slots=True)
class Pair:
    """Two runs in one condition each.

    Attributes:
        first: The first run.
        second: The second run.
        test: The second minus the first.
        categories: The same by category, by field; a category with one question is there too.
    """

    first: Side
    second: Side
    test: PairedTest
    categories: Mapping[str, Mapping[str, PairedTest]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two runs, compared.

    Attributes:
        names: What they are called.
        benchmark: Title of the benchmark.
        pairs: With tools and without, as far as both have it; or the one condition of each.
        unmatched: How many questions only one of the two has a verdict on.
        page: The page that shows them side by side.
    """

    names: tuple[str, str]
    benchmark: str
    pairs: tuple[Pair, ...]
    unmatched: int
    page: Path


def compare(first: str | Path, second: str | Path, out: str | Path | None = None) -> Comparison:
    """Compare two evaluations of the same benchmark; writes ``comparison.json``, ``.md`` and ``.html``.

    Args:
        first: Folder of the first run.
        second: Folder of the second run.
        out: Folder to write to; by default ``FIRST-vs-SECOND`` beside the first.

    Raises:
        DataError: A folder holds no evaluation.
        OSError: ``out`` is a file, or cannot be written to.
        UsageError: The two are of different benchmarks, or have no question in common.
    """
    runs = open_run(first), open_run(second)
    benchmark = _benchmark(runs)
    names = _names(runs)
    folder = Path(out) if out is not None else runs[0].folder.resolve().parent / f"{names[0]}-vs-{names[1]}"
    check_folder(folder)
    for what, one, other in _unlike(runs):
        logger.warning("the two runs differ in %s: %r and %r", what, one, other)
    read = [read_rows(each) for each in runs]
    shared = shared_ids(read[0]) | shared_ids(read[1])
    rows = (disambiguated(read[0], shared), disambiguated(read[1], shared))
    matched = [_matched(*rows, *conditions) for conditions in _conditions(*rows)]
    pairs = tuple(pair for first_rows, second_rows in matched if (pair := _pair(first_rows, second_rows, runs[0])))
    if not pairs:
        raise UsageError(
            f"{first} and {second}: no question of {benchmark.title} has a verdict in both; compare runs of the same "
            "samples, and judge them (deepeyes eval --rescore)"
        )
    asked = [{row.question for row in each if row.score is not None} for each in rows]
    found = Comparison(names, benchmark.title, pairs, len(asked[0] ^ asked[1]), folder / "comparison.html")
    tests = [_sentence(pair, found) for pair in pairs]
    comparison_page.write(runs, names, matched, found.page, overview(found), tests)
    with replacing(folder / "comparison.json") as beside:
        beside.write_text(json.dumps(asdict(found), indent=2, default=str) + "\n", encoding="utf-8")
    with replacing(folder / "comparison.md") as beside:
        beside.write_text(markdown(found), encoding="utf-8", errors="replace")
    return found


def markdown(found: Comparison) -> str:
    """Return a comparison as Markdown."""
    first, second = found.names
    parts = [
        f"# {markdown_text(f'{first} and {second} on {found.benchmark}')}",
        table(["", first, second], overview(found)),
    ]
    for pair in found.pairs:
        parts.append(markdown_text(_sentence(pair, found)))
        for name, tests in pair.categories.items():
            rows = [
                [category, str(test.questions), f"{test.difference:+.1%}", f"{test.p_value:.3g}"]
                for category, test in tests.items()
            ]
            parts += [f"## By {markdown_text(name)}", table([name, "questions", "difference", "p"], rows)]
    parts += [f"{found.unmatched} questions have a verdict in only one of the two."] if found.unmatched else []
    parts.append(f"Question by question: [{found.page.name}]({found.page.name}).")
    return "\n\n".join(parts) + "\n"


def _sentence(pair: Pair, found: Comparison) -> str:
    first, second = found.names
    return test_result(pair.test, label(first, pair.first, found), label(second, pair.second, found)) + "."


def overview(found: Comparison) -> list[list[str]]:
    """Return the rows of the main table: a condition, then the accuracy of each run."""
    rows = []
    for pair in found.pairs:
        same = pair.first.condition == pair.second.condition
        name = (
            WITH[pair.first.condition] if same else " and ".join(WITH[e.condition] for e in (pair.first, pair.second))
        )
        rows.append([name, estimate(pair.first.accuracy), estimate(pair.second.accuracy)])
    return rows


def label(name: str, side: Side, found: Comparison) -> str:
    """Name a run, with its condition where there are several."""
    several = len(found.pairs) > 1 or any(pair.first.condition != pair.second.condition for pair in found.pairs)
    return f"{name} {WITH[side.condition]}" if several else name


def _benchmark(runs: tuple[Run, Run]) -> Benchmark:
    one, other = (run.benchmark for run in runs)
    if one.name != other.name:
        raise UsageError(
            f"{runs[0].folder} asked {one.title} ({one.name}) and {runs[1].folder} {other.title} ({other.name}); "
            "compare runs of the same benchmark"
        )
    return one


def _names(runs: tuple[Run, Run]) -> tuple[str, str]:
    first, second = (run.folder.resolve().name for run in runs)
    return (first, second) if first != second else (f"{first} 1", f"{second} 2")


def _unlike(runs: tuple[Run, Run]) -> Iterable[tuple[str, Any, Any]]:
    """Give what two runs had better have in common."""
    settings = [
        {
            **{name: run.settings.get(name) for name in ("data", "seed", "samples", "rotated", "circular")},
            **judge_of(run.folder),
        }
        for run in runs
    ]
    for name in settings[0]:
        if settings[0][name] != settings[1].get(name):
            yield name, settings[0][name], settings[1].get(name)


def _conditions(first: Iterable[Row], second: Iterable[Row]) -> list[tuple[str, str]]:
    """Return which conditions to compare: equal ones, or else the only one of each."""
    have = [[name for name in CONDITIONS if any(row.condition == name for row in rows)] for rows in (first, second)]
    shared = [(name, name) for name in have[0] if name in have[1]]
    return shared or [(have[0][0], have[1][0])] if all(have) else []


def _matched(first: Iterable[Row], second: Iterable[Row], one: str, other: str) -> tuple[list[Row], list[Row]]:
    """Return the rows of the questions that have a verdict in both."""
    sides = (
        [row for row in first if row.condition == one and row.score is not None],
        [row for row in second if row.condition == other and row.score is not None],
    )
    shared = {row.question for row in sides[0]} & {row.question for row in sides[1]}
    chosen = [[row for row in rows if row.question in shared] for rows in sides]
    return chosen[0], chosen[1]


def _pair(first: list[Row], second: list[Row], run: Run) -> Pair | None:
    test = paired(mean_scores(first), mean_scores(second))
    means = accuracy(first), accuracy(second)
    if test is None or means[0] is None or means[1] is None:
        return None
    categories = {name: _by_category(first, second, name) for name in run.benchmark.categories}
    return Pair(
        Side(first[0].condition, means[0]),
        Side(second[0].condition, means[1]),
        test,
        {name: tests for name, tests in categories.items() if tests},
    )


def _by_category(first: list[Row], second: list[Row], name: str) -> dict[str, PairedTest]:
    found = {}
    for category in sorted({value for row in first for value in row.categories.get(name, ())}):
        sides = ([row for row in rows if category in row.categories.get(name, ())] for rows in (first, second))
        if test := paired(*map(mean_scores, sides)):
            found[category] = test
    return found
