"""Stand-ins for a judging model, as replies of a FaultyServer."""

import re
from typing import Any

from deepeyes_env.core import Sample
from deepeyes_env.images import ImageRef
from deepeyes_env.judges.check import KNOWN_ANSWERS

IMAGE = ImageRef(b"never decoded", digest="0" * 64)
CASE = re.compile(
    r"\nRight answer: (?P<right>.*)\n"
    r"=+ (?P<code>\w+): the candidate's answer begins =+\n"
    r"Candidate's answer: (?P<given>.*)\n"
    r"=+ (?P=code): the candidate's answer ends =+\n"
)

Request = dict[str, Any]


def question(answer: str = "red", text: str = "What colour is the flag?", options: tuple[str, ...] = ()) -> Sample:
    return Sample("s", text, answer, (IMAGE,), options)


def case_of(request: Request) -> re.Match[str]:
    (found,) = CASE.finditer(request["messages"][-1]["content"])
    return found


def honest(request: Request) -> str:
    """Right if the answer, as sent, is the right one apart from case and a full stop."""
    case = case_of(request)
    return f"Judgement {case['code']}: {int(case['given'].lower().rstrip('.') == case['right'].lower())}"


def understanding(request: Request) -> str:
    """Right where the answer is one of the known right ones of ``deepeyes_env.judges.check``."""
    case = case_of(request)
    known = {each.given for each in KNOWN_ANSWERS if each.is_right}
    return f"Judgement {case['code']}: {int(case['given'] in known)}"
