"""Answers with the value that a careful person gives them: how many are judged so (``tests/golden/judging``)."""

import numpy as np
import pytest

from deepeyes_env import Sample
from deepeyes_env.data.benchmarks import mathvista
from deepeyes_env.images import ImageRef
from deepeyes_env.judges import Judge, RuleJudge, make_judge
from deepeyes_env.judges.boxes import BoxJudge
from deepeyes_env.judges.maths import math_verify_installed
from tests.conftest import read_golden

IMAGE = ImageRef(b"never decoded", name="x", digest="0" * 64)
RULES = RuleJudge()
UNSURE = RuleJudge(abstain=True)


def credited(prediction: str, question: str, options: list[str], judge: Judge = RULES) -> set[int]:
    """Return the options for which an answer is right, each taken for the right one in turn."""
    samples = [Sample("s", question, text, (IMAGE,), options=tuple(options)) for text in options]
    return {i for i, sample in enumerate(samples) if judge(prediction, sample).score}


def test_choices_that_are_clear() -> None:
    clear = [case for case in read_golden("judging/choices.jsonl") if case["intended"] is not None]
    found = [credited(case["prediction"], case["question"], case["options"]) for case in clear]
    right = sum(options == {case["intended"]} for options, case in zip(found, clear, strict=True))
    others = [case for options, case in zip(found, clear, strict=True) if options - {case["intended"]}]
    assert len(clear) == 696
    assert others == []
    assert right / len(clear) >= 0.99


def test_choices_that_are_unclear_are_credited_for_no_option() -> None:
    unclear = [case for case in read_golden("judging/choices.jsonl") if case["intended"] is None]
    assert len(unclear) == 134
    assert [case for case in unclear if credited(case["prediction"], case["question"], case["options"])] == []


def test_no_right_choice_is_certainly_wrong() -> None:
    """A chain asks no model about what is certain."""
    for case in read_golden("judging/choices.jsonl"):
        if case["intended"] is not None:
            options = tuple(case["options"])
            verdict = UNSURE(
                case["prediction"], Sample("s", case["question"], options[case["intended"]], (IMAGE,), options)
            )
            assert verdict is None or verdict.score == 1, case


@pytest.mark.parametrize("name", ["yes_no", "rules"])
def test_yes_and_no(name: str) -> None:
    judge = make_judge(name)
    wrong = []
    for case in read_golden("judging/yes_no.jsonl"):
        found = {
            truth
            for truth in ("yes", "no")
            if judge(case["pred"], Sample("s", "Is there a dog in the image?", truth, (IMAGE,))).score
        }
        if found != {case["intended"]} - {None}:
            wrong.append((case, found))
    assert wrong == []


def test_boxes() -> None:
    sample = Sample("s", "?", "box", (np.zeros((480, 640, 3), np.uint8),), boxes=((64, 96, 320, 384),))
    judge = BoxJudge("native")
    cases = read_golden("judging/boxes.jsonl")
    assert [case for case in cases if bool(judge(case["pred"], sample).score) != case["intended"]] == []


@pytest.mark.integration
@pytest.mark.skipif(not math_verify_installed(), reason="the extra 'math' is not installed")
def test_values() -> None:
    judge = make_judge("math")
    wrong = []
    for case in read_golden("judging/values.jsonl"):
        metadata = {"answer_type": case["at"], "unit": case["unit"]}
        if case["prec"] is not None:
            metadata["precision"] = int(case["prec"])
        hint = mathvista.HINTS.get(case["at"], "").format(places=metadata.get("precision"))
        sample = Sample("s", f"{case['q']}\n{hint}", case["ans"], (IMAGE,), metadata=metadata)
        if bool(judge(case["pred"], sample).score) != case["intended"]:
            wrong.append(case)
    assert wrong == []
