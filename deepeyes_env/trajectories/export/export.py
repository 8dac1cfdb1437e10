"""Exporting a run to a file in a format, and checking such a file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepeyes_env.conversation import Calls
from deepeyes_env.core import Sample, Trajectory
from deepeyes_env.errors import DataError, UnexportableError, UsageError
from deepeyes_env.trajectories.export import vlmevalkit
from deepeyes_env.trajectories.export.conversation import Conversation, conversation_of
from deepeyes_env.trajectories.export.formats import FORMATS, AnyFormat, Format, Sheet
from deepeyes_env.trajectories.export.selection import NOT_SCORED, Selection
from deepeyes_env.trajectories.summary import written_counts


@dataclass(frozen=True, slots=True)
class Export:
    """What came of an export.

    Attributes:
        written: Episodes in the file.
        left_out: How many were left out, by reason.
    """

    written: int
    left_out: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contents:
    """What a checked file holds.

    Attributes:
        rows: Conversations or predictions.
        messages: Messages in them.
        images: Images in them.
    """

    rows: int
    messages: int = 0
    images: int = 0


def export(
    trajectories: Iterable[Trajectory],
    path: str | Path,
    format: str,
    *,
    selection: Selection | None = None,
    calls: Calls | None = None,
    dataset: Iterable[Sample] | None = None,
    rows: Iterable[Sample] | None = None,
) -> Export:
    """Write episodes to a file of another tool's format. The file appears whole or not at all.

    Args:
        trajectories: The episodes.
        path: The file: ``.jsonl`` for ``sharegpt`` and ``openai``, ``.parquet`` for ``huggingface``, ``.xlsx`` or
            ``.tsv`` for ``vlmevalkit``. ``sharegpt`` puts ``images/`` and ``dataset_info.json`` beside it.
        format: One of ``FORMATS``.
        selection: Which episodes to keep; all by default.
        calls: How ``sharegpt`` and ``openai`` write tool calls; by default as they were made.
        dataset: The data set that was played; ``vlmevalkit`` needs it where samples have options.
        rows: The same as its file has it, where a benchmark rewrites questions; ``vlmevalkit`` writes its columns.

    Raises:
        UsageError: An argument does not fit; the message names it.
        DataError: No episode is left to write; the message counts the reasons.
    """
    path, chosen = Path(path), FORMATS.get(format)
    _check_arguments(path, format, chosen, calls, dataset, rows)
    kept = _Kept(selection or Selection())
    if isinstance(chosen, Sheet):
        chosen.write(kept.predictions(trajectories, dataset, rows), path)
    else:
        chosen.write(kept.conversations(trajectories, chosen, calls), path)
    return Export(kept.written, dict(kept.left_out.most_common()))


def check(path: str | Path, format: str) -> Contents:
    """Read a file through, and decode its images.

    Args:
        path: The file.
        format: One of ``FORMATS``.

    Raises:
        DataError: The file is wrong; the message says where.
        UnknownNameError: There is no such format.
        UsageError: The format has no reader.
    """
    path, chosen = Path(path), FORMATS.get(format)
    read: Callable[[Path], Iterable[Any]] | None = chosen.read
    if read is None:
        raise UsageError(f"{path}: format {format} has no reader, so that its files cannot be checked")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if isinstance(chosen, Sheet):
        return Contents(sum(1 for _ in read(path)))
    rows = messages = images = 0
    decoded: set[str] = set()
    for conversation in read(path):
        rows += 1
        messages += len(conversation.messages)
        for image in conversation.images:
            images += 1
            if image.digest not in decoded:
                _decode(image, f"{path}, row {rows}")
                decoded.add(image.digest)
    return Contents(rows, messages, images)


def _decode(image: Any, where: str) -> None:
    try:
        image.pixels()
    except ValueError as error:
        raise DataError(f"{where}: {error}") from error


def _check_arguments(path: Path, name: str, format: AnyFormat, calls: Calls | None, dataset: Any, rows: Any) -> None:
    if path.suffix not in format.suffixes:
        raise UsageError(f"{path}: a file of format {name} must end in {' or '.join(format.suffixes)}")
    if calls not in (None, "text", "native"):
        raise UsageError(f"calls={calls!r}: must be 'text' or 'native'")
    if calls is not None and not (isinstance(format, Format) and format.either_calls):
        raise UsageError(f"calls={calls!r}: has no effect on format {name}; leave it out")
    if dataset is not None and not isinstance(format, Sheet):
        raise UsageError(f"dataset: has no effect on format {name}; leave it out")
    if rows is not None and dataset is None:
        raise UsageError("rows: has no effect without dataset; leave it out")


def _questions(samples: Iterable[Sample] | None) -> dict[str, vlmevalkit.BenchmarkQuestion] | None:
    return None if samples is None else {sample.id: vlmevalkit.BenchmarkQuestion.of(sample) for sample in samples}


class _Kept:
    """Hands on what is to be written, and counts what is not."""

    def __init__(self, selection: Selection) -> None:
        self.written = 0
        self.left_out: Counter[str] = Counter()
        self._selection = selection

    def conversations(
        self, trajectories: Iterable[Trajectory], format: Format, calls: Calls | None
    ) -> Iterator[Conversation]:
        """Hand on the conversations that the format takes."""
        for trajectory in self._selected(trajectories):
            try:
                conversation = conversation_of(trajectory, calls)
            except UnexportableError as error:
                self.left_out[str(error)] += 1
                continue
            if reason := format.reason_to_skip(conversation):
                self.left_out[reason] += 1
            else:
                self.written += 1
                yield conversation
        self._check_any()

    def predictions(
        self, trajectories: Iterable[Trajectory], dataset: Iterable[Sample] | None, table: Iterable[Sample] | None
    ) -> Iterator[vlmevalkit.Prediction]:
        """Give one row a question: of several answers the one of the first episode."""
        originals, as_written = _questions(dataset), _questions(table) or {}
        rows: dict[str, tuple[int, str, vlmevalkit.Prediction]] = {}
        for trajectory in self._selected(trajectories):
            id, number = trajectory.sample.id, int(trajectory.metadata.get("episode", len(rows)))
            if originals is not None and id not in originals:
                raise UsageError(f"sample {id!r} is not in the data set; give the one that was played")
            earlier = rows.get(id)
            if earlier and bool(earlier[1]) != bool(trajectory.toolbox):
                raise UsageError(f"sample {id!r} was answered with tools and without; select tools 'on' or 'off'")
            if earlier:
                self.left_out["another answer to the same question"] += 1
            if not earlier or number < earlier[0]:
                original = originals[id] if originals is not None else None
                row = vlmevalkit.prediction_of(trajectory, original, as_written.get(id))
                rows[id] = (number, trajectory.toolbox, row)
        self.written = len(rows)
        self._check_any()
        yield from (row for _, _, row in rows.values())

    def _selected(self, trajectories: Iterable[Trajectory]) -> Iterator[Trajectory]:
        for trajectory in trajectories:
            if reason := self._selection.reason_to_skip(trajectory):
                self.left_out[reason] += 1
            else:
                yield trajectory

    def _check_any(self) -> None:
        if not self.written:
            remedy = "; play with a rubric, or judge the run" if NOT_SCORED in self.left_out else ""
            raise DataError(
                f"no episode is left to write ({written_counts(self.left_out, 'the run has none')}); nothing was "
                f"written{remedy}"
            )
