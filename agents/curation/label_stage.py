"""The stage ``label``: what speaks against the answer of a question: rules, mathematics, a second model, a person."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from deepeyes_env.agents.curation.asking import Asking, Questions, Tally, ask, lacking
from deepeyes_env.agents.curation.curation import PERSON, Curation
from deepeyes_env.agents.curation.format_stage import format_lines, unreadable
from deepeyes_env.agents.curation.label_file import Labelled, label_path, read_labels, write_labels
from deepeyes_env.agents.curation.label_rules import objections
from deepeyes_env.data.fields import parse_object
from deepeyes_env.errors import DataError, DeepEyesError, UsageError
from deepeyes_env.files import replacing
from deepeyes_env.judges.text import key

MAJORITY = 0.6
"""A second model speaks against an answer where it gives one other answer at least this often."""


def label_answers(curation: Curation, asking: Asking | None = None, *, limit: int | None = None) -> None:
    """Label the questions of a data set by what speaks against their answers.

    A second model is shown the true region where there is one, and asked without tools; of the model of the other
    stages those answers are known already.

    Args:
        curation: The curation; its stage ``format`` is done.
        asking: The second model, and how it is asked; ``None`` for rules and mathematics alone.
        limit: The first N only.
    """
    questions = Questions(curation)
    count = min(len(questions), limit or len(questions))
    tallies: dict[int, dict[str, Tally]] = {}
    if asking is not None:
        boxed = {row for row in questions.boxed if row < count}
        plain = [row for row in questions.readable if row < count and row not in boxed]
        tallies = ask(curation, questions, asking, ("shown",), sorted(boxed))
        tallies |= ask(curation, questions, asking, ("without",), plain)
    found = _by_rules(curation, questions, count)
    person = read_decisions(curation.folder)
    bad = {each.row: each for each in unreadable(curation.folder)}

    def lines() -> Iterator[Labelled]:
        for row in range(count):
            if row in bad:
                yield bad[row]
            elif asking is None or row not in tallies:
                yield _labelled(row, questions.ids.get(row, ""), found.get(row, []), None, person.get(row))
            else:
                (tally,) = tallies[row].values()
                short = lacking(row, questions.ids[row], [tally], asking.k)
                yield short or _labelled(row, questions.ids[row], found.get(row, []), tally, person.get(row))

    write_labels(label_path(curation.folder, "label"), lines())


def _labelled(row: int, id: str, against: list[str], tally: Tally | None, person: str | None) -> Labelled:
    against = list(against)
    labels = {}
    details: dict[str, object] = {}
    if tally is not None:
        labels["agreement"] = tally.share
        vote, times = max(tally.votes.items(), key=lambda each: (bool(each[0]), each[1]))
        details = {"second": [tally.right.bit_count(), tally.count]}
        if vote and times >= MAJORITY * tally.count and times > tally.right.bit_count():
            details["says"] = _told(vote)
            against.append(f"the second model says {_told(vote)} in {times} of {tally.count} answers")
    ok = person == "right" if person else not against
    if person:
        details["person"] = person
    return Labelled(row, id, {"label_ok": float(ok), **labels}, found={**details, "against": against})


def _told(vote: str) -> str:
    """Return a vote in words."""
    kind, *parts = json.loads(vote)
    return " ".join(str(part) for part in parts if part) or kind


def _by_rules(curation: Curation, questions: Questions, count: int) -> dict[int, list[str]]:
    """Return what rules find, by row: what a question says of itself, and rows that contradict each other."""
    found: dict[int, list[str]] = {}
    images = {each.row: str(each.found["image"]) for each in format_lines(curation.folder)}
    answers: dict[tuple[str, str], dict[str, int]] = {}
    for row in questions.readable:
        if row >= count:
            break
        try:
            sample = questions[row]
        except DeepEyesError as error:
            found[row] = [f"the row cannot be read: {error}"]
            continue
        if against := objections(sample):
            found[row] = against
        asked = (images[row], key(sample.question))
        before = answers.setdefault(asked, {})
        before.setdefault(key(sample.answer), row)
        for answer, other in before.items():
            if answer != key(sample.answer):
                for one, another in ((row, other), (other, row)):
                    found.setdefault(one, []).append(f"row {another} has another answer to the same question")
    return found


# --- a person --------------------------------------------------------------------------------------------------------


def disagreements(folder: Path) -> list[Labelled]:
    """Return the questions with something against their answers, those that a person decided included."""
    return [each for each in read_labels(label_path(folder, "label")) if each.found.get("against")]


def read_decisions(folder: Path) -> Mapping[int, str]:
    """Return what a person said, by row: ``right`` or ``wrong``.

    Raises:
        DataError: The file holds something else.
    """
    path = folder / PERSON
    if not path.is_file():
        return {}
    try:
        return _decisions(parse_object(path.read_bytes()))
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error


def take_decisions(folder: Path, file: Path, rows: int) -> int:
    """Add what a person saved from the page of disagreements; returns how many decisions there are now.

    Args:
        folder: Folder of the curation.
        file: What the page's button saved.
        rows: Number of rows of the data.

    Raises:
        UsageError: The file holds something else, or decides on rows that there are not.
        OSError: It cannot be read.
    """
    try:
        new = _decisions(parse_object(file.read_bytes()))
    except ValueError as error:
        raise UsageError(f"{file}: holds no decisions ({error}); save them with the page's button") from error
    if beyond := [row for row in new if not 0 <= row < rows]:
        raise UsageError(f"{file}: decides on row {beyond[0]} of data of {rows} rows; it belongs to another curation")
    merged = {**read_decisions(folder), **new}
    with replacing(folder / PERSON) as temporary:
        temporary.write_text(json.dumps({str(row): merged[row] for row in sorted(merged)}, indent=1) + "\n")
    return len(merged)


def _decisions(read: Mapping[str, object]) -> dict[int, str]:
    decided: dict[int, str] = {}
    for row, said in read.items():
        if not (row.isascii() and row.isdigit()) or said not in ("right", "wrong"):
            raise ValueError(f"{row!r}: {said!r} is no decision; right or wrong is, under a row")
        decided[int(row)] = str(said)
    return decided
