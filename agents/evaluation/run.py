"""The folder of an evaluation: a run folder, and what of the benchmark was to be asked."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepeyes_env.agents.evaluation.plan import Plan
from deepeyes_env.agents.run_folder import (
    FAILURES,
    PLAN,
    SETTINGS,
    IfExists,
    RunFolder,
    number_of,
    read_settings,
    reading,
)
from deepeyes_env.data import Dataset
from deepeyes_env.data.benchmarks import Benchmark
from deepeyes_env.data.fields import get, parse_object
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.files import replacing
from deepeyes_env.json_lines import read_lines
from deepeyes_env.trajectories import read_trajectories
from deepeyes_env.trajectories.schema import from_fields


@dataclass(frozen=True)
class Run:
    """An evaluation that was begun.

    Attributes:
        folder: Where it is recorded.
        benchmark: What was asked.
        policy: Who was asked.
        plan: Which episodes it consists of.
        settings: Everything that was set.
    """

    folder: Path
    benchmark: Benchmark
    policy: str
    plan: Plan
    settings: Mapping[str, Any]


def begin(
    folder: Path,
    settings: Mapping[str, Any],
    plan: Plan,
    dataset: Dataset,
    if_exists: IfExists,
    about: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Make a folder ready, or one that holds an evaluation of the same settings ready to go on.

    ``about`` is recorded beside the settings, and not compared.

    Raises:
        FileExistsError, ValueError: See ``deepeyes_env.agents.run_folder.RunFolder.prepare``.
        ValueError: The plan has more episodes than the folder in one way, and fewer in another; or samples that were
            answered are no longer those of the data set.
    """
    earlier = _read_plan(folder) if if_exists == "resume" else None

    def recorded(folder: Path) -> frozenset[int]:
        if earlier:
            _check_gaps(folder, plan, earlier)
        return frozenset(_answered(folder, plan, dataset))

    told = {**settings, "seed": plan.seed, "samples": plan.samples}
    prepared = RunFolder.prepare(folder, told, if_exists, recorded, about)
    united = plan.united(earlier) if earlier else plan
    with replacing(folder / PLAN) as beside:
        beside.write_text(json.dumps(asdict(united), indent=2) + "\n", encoding="utf-8")
    return prepared


def _check_gaps(folder: Path, plan: Plan, earlier: Plan) -> None:
    united = plan.united(earlier)
    if len(united) > len({episode.number for each in (plan, earlier) for episode in each}):
        limit = "" if united.limit is None else f", --limit {united.limit}"
        raise UsageError(
            f"{folder}: holds other episodes than these, and both together leave gaps; a run that has all of them is "
            f"--tools {united.tools}, --repeats {united.repeats}{limit}"
        )


def _answered(folder: Path, plan: Plan, dataset: Dataset) -> Iterator[int]:
    """Give the numbers of the recorded episodes, whose samples must still be those of the data set."""
    for trajectory in read_trajectories(folder):
        number = number_of(trajectory)
        index = plan.sample_of(number)
        was, now = trajectory.sample, dataset[index]
        if (was.id, was.question, was.answer) != (now.id, now.question, now.answer):
            raise UsageError(
                f"{folder}: cannot resume: sample {index} was {was.id!r}, {was.question[:80]!r}, and now is "
                f"{now.id!r}, {now.question[:80]!r}; use the data as they were, or give another folder"
            )
        yield number


def open_run(folder: str | Path) -> Run:
    """Open the folder of an evaluation.

    Raises:
        DataError: There is no evaluation in it, or its settings are damaged.
    """
    path = Path(folder)
    plan = _read_plan(path)
    if plan is None or not (path / SETTINGS).is_file():
        raise DataError(f"{path}: holds no evaluation (there is no {PLAN}); `deepeyes eval --out {path}` makes one")
    settings = read_settings(path / SETTINGS)
    with reading(path / SETTINGS):
        benchmark = from_fields(get(settings, "benchmark", dict, ""), Benchmark)
        return Run(path, benchmark, get(settings, "policy", str, ""), plan, settings)


def read_failures(folder: Path) -> dict[int, dict[str, Any]]:
    """Return the episodes that could not be played, by number.

    Raises:
        DataError: A line is no failed episode.
    """
    path, failures = folder / FAILURES, {}
    for line, text in read_lines(path):
        try:
            record = parse_object(text)
            get(record, "error", str, "")
            failures[get(record, "number", int, "")] = record
        except ValueError as error:
            raise DataError(
                f"{path}, line {line}: is no failed episode ({error}); delete the line, and --resume plays the episode"
            ) from error
    return failures


def _read_plan(folder: Path) -> Plan | None:
    path = folder / PLAN
    if not path.is_file():
        return None
    settings = read_settings(path)
    with reading(path):
        return from_fields(settings, Plan)
