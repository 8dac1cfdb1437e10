"""RuleJudge: right or wrong by rules alone. Needs nothing, costs microseconds, and is strict."""

from __future__ import annotations

from dataclasses import dataclass

from deepeyes_env.core import Sample
from deepeyes_env.judges.base import MAX_ANSWER_LENGTH, Verdict
from deepeyes_env.judges.choices import choices_of, pick
from deepeyes_env.judges.quantities import read_quantity
from deepeyes_env.judges.text import key, polarity, without_lead


@dataclass(frozen=True, slots=True)
class RuleJudge:
    """Compares an answer with the right one as choices, numbers, yes or no, or text.

    - Multiple choice: options in the order shown are A, B, C, ...; where ``sample.options`` is empty, the options that
      the question lists. ``B``, ``(b)``, ``B) red``, ``option B: red``, ``red`` and ``The answer is B`` name an option.
      An answer that names several options, or a letter with another option's text, is wrong.
    - Numbers: ``12``, ``12.0``, ``1,200``, ``twelve``, ``50%`` by value; see ``.quantities.Quantity`` for units.
    - Yes or no, alone or before a comma.
    - Text: equal up to case, spaces, Unicode form (NFKC), articles, wrappers and trailing punctuation.

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
        return _judge_text(prediction, sample)
    picked = pick(prediction, choices, sample.question)
    if picked is None:
        return False, False, "names no option"
    if len({choices.texts[i] or i for i in picked.indices}) > 1:
        return False, True, "names several options"
    right = bool(picked.indices) and picked.indices <= choices.right
    return right, picked.certain, "the right option" if right else "another option"


def _judge_text(prediction: str, sample: Sample) -> tuple[bool, bool, str]:
    text, answer = key(prediction), key(sample.answer)
    bare = without_lead(text)
    if answer and answer in (text, bare):
        return True, True, "same text"
    quantity, expected = read_quantity(bare), read_quantity(answer)
    if quantity is not None and expected is not None:
        if quantity.equals(expected, sample.question.casefold()):
            return True, True, "same number"
        return False, quantity.value != expected.value, "another number or unit"
    said = polarity(bare)
    if said and (meant := polarity(answer)):
        return said == meant, True, f"says {said}"
    return False, False, "another text"
