"""Votes: when two answers to one question are the same, for the majority of several."""

from __future__ import annotations

from collections.abc import Hashable

from deepeyes_env.core import Sample
from deepeyes_env.judges.base import MAX_ANSWER_LENGTH
from deepeyes_env.judges.boxes import read_boxes
from deepeyes_env.judges.choices import choices_of, pick
from deepeyes_env.judges.maths import unboxed
from deepeyes_env.judges.quantities import read_quantity
from deepeyes_env.judges.text import key, polarity, without_lead
from deepeyes_env.judges.yes_no import says


def vote(prediction: str | None, sample: Sample) -> Hashable | None:
    """Return an answer in a form in which equal answers to one question are equal; ``None`` for no answer.

    Of multiple choice it is the text of the option, so that ``B`` here and ``red`` there are one vote, whatever the
    order of the options; else yes or no as the judge of such questions reads it, a number by its value, or the text up
    to case, spaces and articles. An answer that names no option or several is no vote, and so is one of
    ``MAX_ANSWER_LENGTH`` characters or more, or a box: two boxes are never quite the same.

    Args:
        prediction: The answer.
        sample: The question, with its options in the order shown.
    """
    if prediction is None or not prediction.strip() or len(prediction) >= MAX_ANSWER_LENGTH:
        return None
    choices = choices_of(sample)
    if choices is not None:
        picked = pick(prediction, choices, sample.question)
        named = {choices.texts[i] or i for i in picked.indices} if picked else set()
        return ("option", named.pop()) if len(named) == 1 else None
    if sample.boxes and read_boxes(prediction):
        return None
    if polarity(key(sample.answer)) and (said := says(prediction, sample.question)):
        return ("text", said)
    text = without_lead(key(unboxed(prediction)))
    quantity = read_quantity(text)
    if quantity is not None:
        return ("number", quantity.value, quantity.unit)
    return ("text", polarity(text) or text)
