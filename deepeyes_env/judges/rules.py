"""RuleJudge: right or wrong by rules alone. Needs nothing, costs microseconds, and is strict."""

from __future__ import annotations

from dataclasses import dataclass, replace

from deepeyes_env.core import ACCEPTED, Sample
from deepeyes_env.judges.base import MAX_ANSWER_LENGTH, Verdict
from deepeyes_env.judges.choices import choices_of, pick
from deepeyes_env.judges.quantities import read_quantity
from deepeyes_env.judges.text import announced, key, polarity, without_lead
from deepeyes_env.judges.values import claimed_quantity
from deepeyes_env.judges.yes_no import says

NO_OPTION = "names no option"
SEVERAL_OPTIONS = "names several options"
SAME_TEXT = "names several options with the same text"
UNCLEAR: frozenset[str] = frozenset({NO_OPTION, SEVERAL_OPTIONS, SAME_TEXT})
"""Why an answer to a multiple choice is wrong although it chose no wrong option: a model may read it otherwise."""


@dataclass(frozen=True, slots=True)
class RuleJudge:
    """Compares an answer with the right one as choices, numbers, yes or no, or text.

    - Multiple choice: options in the order shown are A, B, C, ...; where ``sample.options`` is empty, the options that
      the question lists. ``B``, ``(b)``, ``B) red``, ``option B: red``, ``red`` and ``The answer is B`` name an option,
      and so does the last assertion of a longer answer (``deepeyes_env.judges.assertions``). An answer that names
      several options, leaves it open, or puts a letter beside another option's text, is wrong; and so is the mere text
      of several equal options of which one is right by its letter (``deepeyes_env.equal_options``).
    - Numbers: ``12``, ``12.0``, ``1,200``, ``twelve``, ``50%`` by value, also in a sentence that says nothing else; see
      ``.quantities.Quantity`` for units.
    - Yes or no, as ``deepeyes_env.judges.yes_no.says`` reads it.
    - Of free text, also by each of ``sample.metadata["accepted_answers"]``.
    - Text: equal up to case, spaces, Unicode form (NFKC), articles, markup and trailing punctuation, alone or after
      "the answer is".

    An empty answer, and one of ``MAX_ANSWER_LENGTH`` characters or more, is wrong.

    Attributes:
        abstain: Abstain where the rules do not settle it: free text that is not the right answer word for word, and
            choices with an explanation. For chains; by default such an answer is wrong, and the choice decides.
    """

    abstain: bool = False

    def __call__(self, prediction: str, sample: Sample) -> Verdict | None:
        """Judge an answer; never raises, whatever the answer."""
        right, certain, reason = _judge(prediction, sample)
        if self.abstain and not certain:
            return None
        return Verdict(float(right), "rules", reason)


def _judge(prediction: str, sample: Sample) -> tuple[bool, bool, str]:
    """Return whether the answer is right, whether that is certain, and why."""
    if len(prediction) >= MAX_ANSWER_LENGTH:
        return False, True, f"{len(prediction)} characters, {MAX_ANSWER_LENGTH} or more"
    if not prediction.strip():
        return False, True, "empty"
    choices = choices_of(sample)
    if choices is None:
        return _judge_any(prediction, sample)
    picked = pick(prediction, choices, sample.question)
    if picked is None:
        return False, False, NO_OPTION
    if len({choices.texts[i] or i for i in picked.indices}) > 1:
        return False, picked.certain, SEVERAL_OPTIONS
    among = picked.indices & choices.right
    if among and among != picked.indices:
        return False, True, SAME_TEXT
    right = bool(among)
    return right, picked.certain, "the right option" if right else "another option"


def _judge_any(prediction: str, sample: Sample) -> tuple[bool, bool, str]:
    """Judge free text by the answer, and by those that are as right; it is wrong for certain if it is so by all."""
    listed = sample.metadata.get(ACCEPTED)
    others = map(str, listed if isinstance(listed, list | tuple) else ())
    samples = [sample, *(replace(sample, answer=other) for other in others)]
    found = [_judge_text(prediction, each) for each in samples]
    right = next((each for each in found if each[0]), None)
    return right or (False, all(certain for _, certain, _ in found), found[0][2])


def _judge_text(prediction: str, sample: Sample) -> tuple[bool, bool, str]:
    text, answer = key(prediction), key(sample.answer)
    bare = without_lead(text)
    if answer and answer in (text, bare):
        return True, True, "same text"
    expected = read_quantity(answer)
    claimed = claimed_quantity(prediction, sample.question) if expected is not None else None
    if claimed is not None and expected is not None:
        question = sample.question.casefold()
        if claimed.quantity.equals(expected, question):
            return True, True, "same number"
        return False, claimed.plain and claimed.quantity.contradicts(expected, question), "another number or unit"
    if answer and answer == announced(prediction):
        return True, True, "same text"
    meant = polarity(answer)
    if meant and (said := says(prediction, sample.question)):
        return said == meant, True, f"says {said}"
    return False, False, "another text"
