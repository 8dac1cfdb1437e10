"""YesNoJudge: yes-or-no questions, as in POPE (arXiv 2305.10355)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast

from deepeyes_env.core import Sample
from deepeyes_env.judges.base import MAX_ANSWER_LENGTH, Verdict
from deepeyes_env.judges.text import key, polarity, without_lead

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_SENTENCE_END = re.compile(r"[.!?;\n]")
_THERE_IS = re.compile(r"there(?: is|'s| are) ")
_NO = {"no", "not", "none", "cannot", "never"}


def says(prediction: str) -> Literal["yes", "no"] | None:
    """Return whether an answer says yes or no; ``None`` if it says neither, or both.

    Read in this order: the answer as a whole ("Yes.", "no, it is red"); the only one of the words yes and no in its
    first sentence; a denial there ("there is no dog", "I don't see a dog"); a first sentence that begins with "there
    is". An answer of ``MAX_ANSWER_LENGTH`` characters or more says neither.
    """
    if len(prediction) >= MAX_ANSWER_LENGTH:
        return None
    text = without_lead(key(prediction))
    if whole := polarity(text):
        return cast(Literal["yes", "no"], whole)
    sentence = _SENTENCE_END.split(text, maxsplit=1)[0]
    words = _WORD.findall(sentence)
    yes = "yes" in words
    no = any(word in _NO or word.endswith("n't") for word in words)
    if yes != no:
        return "yes" if yes else "no"
    return "yes" if not no and _THERE_IS.match(key(prediction)) else None


@dataclass(frozen=True, slots=True)
class YesNoJudge:
    """Compares what an answer says, yes or no, with what the right answer says."""

    def __call__(self, prediction: str, sample: Sample) -> Verdict | None:
        """Judge an answer; abstains if the right answer is neither yes nor no."""
        truth = says(sample.answer)
        if truth is None:
            return None
        said = says(prediction)
        return Verdict(float(said == truth), "yes_no", f"says {said}" if said else "says neither yes nor no")
