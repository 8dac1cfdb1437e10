"""Label files: what a stage says of each question, a line each; columns beside the data, which stays as it is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deepeyes_env.data.fields import parse_object
from deepeyes_env.errors import DataError
from deepeyes_env.files import replacing
from deepeyes_env.json_lines import read_lines
from deepeyes_env.trajectories.schema import from_fields

LABELS = "labels"
"""Folder of the label files."""

STAGES = ("format", "label", "difficulty", "utility", "gain")
"""The stages, in the order in which they run: what needs no model first."""

COLUMNS: Mapping[str, tuple[str, str]] = {
    "open": ("format", "1 if its answer stands without options, else 0"),
    "duplicate": ("format", "1 if an earlier row asks the same about the same image or one nearly the same"),
    "near_image": ("format", "1 if an earlier row has the same image or one nearly the same"),
    "label_ok": ("label", "1 if nothing speaks against its answer, or a person said that it is right; else 0"),
    "agreement": ("label", "share of the second model's answers that are the label's"),
    "difficulty": ("difficulty", "share of right answers without tools: 0 hard, 1 easy"),
    "utility": ("utility", "share right with the true region shown, minus without"),
    "gain": ("gain", "share right with tools, minus without"),
    "unaided": ("gain", "share of right answers of those that it gave with tools at hand, and no call"),
    "gain_low": ("gain", "lower end of the 95 % interval of gain"),
    "gain_high": ("gain", "upper end of it"),
}
"""The stage and the meaning of each label."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """What a stage says of a question: labels, or the reason why it has none.

    Attributes:
        row: Index of the question in its data set; what it is known by.
        id: Its id; empty if the row cannot be read.
        labels: Its labels by name.
        reason: Why it has none; empty if it has.
        again: Whether it is worth trying again: a server was down, and the row is not to blame.
        found: What the stage found beside labels; JSON-able.
    """

    row: int
    id: str = ""
    labels: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    again: bool = False
    found: Mapping[str, Any] = field(default_factory=dict)

    def as_line(self) -> str:
        """Return it as a line of JSON, without what is empty."""
        return json.dumps({key: value for key, value in asdict(self).items() if value or key == "row"})


def label_path(folder: Path, stage: str) -> Path:
    """Return the label file of a stage."""
    return folder / LABELS / f"{stage}.jsonl"


def read_labels(path: Path) -> Iterator[Labelled]:
    """Give the lines of a label file in the order in which they were written; none if there is no such file.

    Raises:
        DataError: A whole line holds something else.
    """
    for number, line in read_lines(path):
        try:
            yield from_fields(parse_object(line), Labelled)
        except ValueError as error:
            raise DataError(
                f"{path}, line {number}: holds no labels ({error}); delete the line, and run again"
            ) from error


def write_labels(path: Path, labelled: Iterable[Labelled]) -> None:
    """Write a label file anew: whole, or not at all."""
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{each.as_line()}\n" for each in labelled)


class LabelTable:
    """The labels of all stages by row.

    Args:
        folder: Folder of a curation.
        rows: Number of rows of its data.
    """

    def __init__(self, folder: Path, rows: int) -> None:
        self.rows = rows
        self._labels: dict[int, dict[str, float]] = {}
        self._reasons: dict[str, dict[int, str]] = {}
        self.stages: list[str] = []
        for stage in STAGES:
            path = label_path(folder, stage)
            if path.is_file():
                self.stages.append(stage)
                self._read(stage, path)

    def _read(self, stage: str, path: Path) -> None:
        reasons = self._reasons[stage] = dict.fromkeys(range(self.rows), "not looked at yet")
        for each in read_labels(path):
            if not 0 <= each.row < self.rows:
                raise DataError(f"{path}: labels row {each.row} of data of {self.rows} rows; it belongs to other data")
            if each.labels:
                self._labels.setdefault(each.row, {}).update(each.labels)
                reasons.pop(each.row, None)
            else:
                reasons[each.row] = each.reason

    def of(self, row: int) -> Mapping[str, float]:
        """Return the labels of a question."""
        return self._labels.get(row, {})

    def reasons(self, stage: str) -> Mapping[int, str]:
        """Return why questions have no label of a stage, by row."""
        return self._reasons.get(stage, {})

    def values(self, name: str) -> list[float]:
        """Return all values of a label that there are, by row."""
        return [labels[name] for _, labels in sorted(self._labels.items()) if name in labels]
