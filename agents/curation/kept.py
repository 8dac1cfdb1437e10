"""Keeping: a condition on labels, and the questions for which it holds as a data set in any format that we write."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deepeyes_env.agents.curation.curation import Curation, require_stages
from deepeyes_env.agents.curation.format_stage import format_lines, formatted
from deepeyes_env.agents.curation.keep import Condition, Keep
from deepeyes_env.agents.curation.label_file import COLUMNS, Labelled, LabelTable
from deepeyes_env.core import Sample
from deepeyes_env.data import write
from deepeyes_env.data.benchmarks.transforms import numbered
from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.registry import unknown_name

CURATED = "curation"
"""Key in the metadata of a sample that was kept: its labels."""

PRESETS: Mapping[str, str] = {
    "deepeyes": "0 < difficulty < 1 and open and not duplicate and label_ok and utility > 0",
    "tool_gain": "not duplicate and label_ok and gain > 0",
}
"""Conditions with names.

``deepeyes``: the paper's stages (arXiv 2505.14362): neither always nor never right without tools; open, once each, with
a label that nothing speaks against; the true region helps. ``tool_gain``: tools help.
"""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a condition kept.

    Attributes:
        condition: The condition, as it was read.
        rows: The rows that it kept, in order.
        of: How many questions there are.
        filters: What each of its parts would keep alone, and together with those before it.
    """

    condition: str
    rows: tuple[int, ...]
    of: int
    filters: tuple[tuple[str, int, int], ...]


def parse_keep(text: str) -> Keep:
    """Read a condition on labels, or the name of a preset.

    Raises:
        UsageError: It is no condition.
    """
    return Keep.parse(PRESETS.get(text.strip(), text), COLUMNS)


def preset(name: str) -> str:
    """Return the condition of a preset.

    Raises:
        UnknownNameError: There is none of that name.
    """
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return PRESETS[name]


def choose(table: LabelTable, keep: Keep) -> Kept:
    """Return which rows a condition keeps."""
    rows = tuple(row for row in range(table.rows) if keep(table.of(row)))
    left: Sequence[int] = range(table.rows)
    filters = []
    for condition in keep.filters:
        left = [row for row in left if _holds(condition, table, row)]
        alone = sum(_holds(condition, table, row) for row in range(table.rows))
        filters.append((str(condition), alone, len(left)))
    return Kept(str(keep), rows, table.rows, tuple(filters))


def write_kept(curation: Curation, keep: Keep, out: str | Path) -> Kept:
    """Write the questions that a condition keeps; those that it drops stay where they are.

    Args:
        curation: The curation.
        keep: The condition.
        out: A file that ``deepeyes_env.data.write`` writes. Questions are in the form that the stage ``format`` found,
            if the curation asks them so; their labels are in ``metadata["curation"]``.

    Raises:
        DataError: A label that the condition reads was not made yet, nothing is kept, or a row cannot be read.
        UsageError: The file's name tells no format.
    """
    table = LabelTable(curation.folder, len(curation.dataset))
    require_stages(curation.folder, {name: COLUMNS[name][0] for name in keep.names}, table.stages)
    kept = choose(table, keep)
    if not kept.rows:
        counts = "; ".join(f"{part} keeps {left}" for part, _, left in kept.filters)
        raise DataError(f"{curation.folder}: no question is left to write: of {kept.of}, {counts}")
    if str(Path(out).resolve()) == curation.settings["data"]:
        raise UsageError(f"{out}: is the data itself; give another file")
    write(KeptSamples(curation, kept.rows, table), out)
    return kept


class KeptSamples:
    """The questions of some rows, in order, as they are written; may be gone through several times."""

    def __init__(self, curation: Curation, rows: Sequence[int], table: LabelTable) -> None:
        self._curation, self._rows, self._table = curation, rows, table
        wanted = set(rows)
        self._forms = {each.row: each for each in format_lines(curation.folder, forms_only=True) if each.row in wanted}

    def __iter__(self) -> Iterator[Sample]:
        ids: set[str] = set()
        for row in self._rows:
            sample = as_asked(self._curation, self._curation.dataset[row], self._forms.get(row))
            if sample.id in ids:  # ids that their file shares
                sample = replace(sample, id=numbered(sample.id, row))
            ids.add(sample.id)
            metadata: dict[str, Any] = {**sample.metadata, CURATED: dict(self._table.of(row))}
            yield replace(sample, metadata=metadata)


def as_asked(curation: Curation, sample: Sample, form: Labelled | None) -> Sample:
    """Return a question as the stages ask it and as it is written."""
    return formatted(sample, form) if curation.is_open and form is not None else sample


def _holds(condition: Condition, table: LabelTable, row: int) -> bool:
    return condition.holds(table.of(row)) is True
