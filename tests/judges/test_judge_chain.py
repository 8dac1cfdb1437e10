import math

import pytest

from deepeyes_env.core import Sample
from deepeyes_env.errors import JudgeError, UsageError
from deepeyes_env.images import ImageRef
from deepeyes_env.judges import ChainJudge, Judge, MathJudge, RuleJudge, Verdict

SAMPLE = Sample("s", "Which?", "tan", (ImageRef(b"never decoded", digest="0" * 64),))


class Answering:
    def __init__(self, verdict: Verdict | None) -> None:
        self.verdict = verdict
        self.asked = 0

    def __call__(self, prediction: str, sample: Sample) -> Verdict | None:
        self.asked += 1
        return self.verdict


class Unreachable:
    def __call__(self, prediction: str, sample: Sample) -> Verdict | None:
        raise JudgeError("nobody is there")


def test_the_first_verdict_counts_and_the_rest_is_not_asked() -> None:
    first, second, third = Answering(None), Answering(Verdict(0.5, "second")), Answering(Verdict(1, "third"))
    assert ChainJudge(first, second, third)("x", SAMPLE) == Verdict(0.5, "second")
    assert (first.asked, second.asked, third.asked) == (1, 1, 0)


def test_a_chain_abstains_when_all_do_and_can_be_nested() -> None:
    silent = ChainJudge(Answering(None), ChainJudge(Answering(None)))
    assert silent("x", SAMPLE) is None
    assert ChainJudge(silent, RuleJudge())("tan", SAMPLE) == Verdict(1, "rules", "same text")


def test_an_error_is_not_covered_up_by_the_next_judge() -> None:
    with pytest.raises(JudgeError, match="nobody"):
        ChainJudge(Unreachable(), RuleJudge())("tan", SAMPLE)


def test_rules_then_another_judge_for_what_they_do_not_settle() -> None:
    lenient = Answering(Verdict(1, "lenient"))
    chain = ChainJudge(RuleJudge(abstain=True), lenient)
    assert chain("the top is tan", SAMPLE) == Verdict(1, "lenient")
    assert chain("tan", SAMPLE) == Verdict(1, "rules", "same text")
    assert lenient.asked == 1


def test_empty_chain_and_impossible_scores_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        ChainJudge()
    for score in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="from 0 to 1"):
            Verdict(score, "mine")


def test_all_are_judges() -> None:
    assert all(isinstance(judge, Judge) for judge in (RuleJudge(), MathJudge(), ChainJudge(RuleJudge())))


@pytest.mark.parametrize("returned", [True, 1.0, "right", {"score": 1}])
def test_a_judge_that_returns_something_else_is_told_what_to_return(returned) -> None:
    def mine(prediction: str, sample: Sample) -> object:
        return returned

    with pytest.raises(UsageError, match=rf"mine.* a {type(returned).__name__}; return Verdict\(score, judge\)"):
        ChainJudge(mine)("tan", SAMPLE)
