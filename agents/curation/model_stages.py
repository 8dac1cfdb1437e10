"""The stages ``difficulty``, ``utility`` and ``gain``: how often a model is right, and what changes that.

They ask without tools, with the true region shown, and with tools, and share the answers without tools.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from deepeyes_env.agents.curation.asking import LEAST_SHARE, Asking, Questions, Tally, ask, lacking
from deepeyes_env.agents.curation.curation import Curation
from deepeyes_env.agents.curation.format_stage import unreadable
from deepeyes_env.agents.curation.keep import Keep
from deepeyes_env.agents.curation.label_file import Labelled, LabelTable, label_path, write_labels
from deepeyes_env.agents.evaluation.statistics import Interval, newcombe

CONDITIONS: Mapping[str, tuple[str, ...]] = {
    "difficulty": ("without",),
    "utility": ("without", "shown"),
    "gain": ("without", "with"),
}
"""Under which conditions each stage asks."""


def label_by_model(
    curation: Curation, stage: str, asking: Asking, *, only: Keep | None = None, limit: int | None = None
) -> None:
    """Label the questions of a data set by what a model makes of them; ask what was not asked yet.

    Args:
        curation: The curation; its stage ``format`` is done.
        stage: ``difficulty``, ``utility`` or ``gain``.
        asking: Who is asked, and how.
        only: Ask only questions for which a condition on earlier labels holds.
        limit: The first N only.
    """
    questions = Questions(curation)
    count = min(len(questions), limit or len(questions))
    reasons = dict(_not_asked(curation, questions, stage, only, count))
    rows = [row for row in questions.readable if row < count and row not in reasons]
    tallies = ask(curation, questions, asking, CONDITIONS[stage], rows)
    ids = questions.ids
    lines = (
        reasons.get(row) or _labelled(stage, row, ids.get(row, ""), tallies[row], asking.k) for row in range(count)
    )
    write_labels(label_path(curation.folder, stage), lines)


def _not_asked(
    curation: Curation, questions: Questions, stage: str, only: Keep | None, count: int
) -> Iterator[tuple[int, Labelled]]:
    """Give why rows are not asked."""
    yield from ((each.row, each) for each in unreadable(curation.folder) if each.row < count)
    if stage == "utility":
        boxed = set(questions.boxed)
        for row in questions.readable:
            if row not in boxed:
                yield row, Labelled(row, questions.ids[row], reason="it has no true box, so there is no region to show")
    if only is not None:
        table = LabelTable(curation.folder, len(questions))
        for row in questions.readable:
            if not only(table.of(row)):
                yield row, Labelled(row, questions.ids[row], reason=f"not asked: {only} does not hold")


def _labelled(stage: str, row: int, id: str, tallies: Mapping[str, Tally], k: int) -> Labelled:
    if short := lacking(row, id, tallies.values(), k):
        return short
    without, *others = tallies.values()
    found: dict[str, Any] = {
        name: {"right": each.right.bit_count(), "of": each.count} for name, each in tallies.items()
    }
    if not others:
        return Labelled(row, id, {"difficulty": without.share}, found=found)
    other = others[0]
    change, interval = other.share - without.share, change_interval(without, other)
    if stage == "utility":
        ends = {"low": interval.low, "high": interval.high}
        return Labelled(row, id, {"utility": change}, found={**found, **ends})
    if other.ious:
        found["ious"] = [round(each, 4) for each in other.ious]
    labels = {"gain": change, "gain_low": interval.low, "gain_high": interval.high}
    count, right = other.uncalled
    if count >= LEAST_SHARE * k:
        labels["unaided"] = right / count
    return Labelled(row, id, labels, found=found)


def change_interval(without: Tally, other: Tally) -> Interval:
    """Return the 95 % interval of a change of the share of right answers: paired by repeat, which share a seed."""
    both = without.known & other.known
    if not both:
        return Interval(-1.0, 1.0)
    better = (other.right & ~without.right & both).bit_count()
    worse = (without.right & ~other.right & both).bit_count()
    return newcombe((without.right & other.right & both).bit_count(), better, worse, both.bit_count())
