"""Judges by name: one judge for a name, whoever asks for it."""

import numpy as np
import pytest

from deepeyes_env import Sample
from deepeyes_env.data.benchmarks import benchmarks
from deepeyes_env.errors import MissingExtraError, UnknownNameError, UsageError
from deepeyes_env.judges import JUDGES, ChainJudge, MathJudge, RuleJudge, Verdict, make_judge, presets, register_judge
from deepeyes_env.judges.rounding import RoundingJudge


def number(answer, precision):
    metadata = {"answer_type": "float", "precision": precision}
    return Sample("s", "How long?", answer, np.zeros((4, 4, 3), np.uint8), metadata=metadata)


def test_every_benchmark_names_a_judge():
    assert {benchmark.judge for benchmark in benchmarks()} <= set(JUDGES)


def test_mathematics_is_right_at_the_precision_asked_for():
    """It was a wrong answer to ``make_judge`` and the command line, and a right one to the benchmark."""
    pytest.importorskip("math_verify")
    judge = make_judge("math")
    assert repr(judge) == repr(ChainJudge(RoundingJudge(), RuleJudge(abstain=True), MathJudge(), RuleJudge()))
    assert judge("1.83", number("1.8", 1)).score == 1


@pytest.mark.parametrize("name", ["math", "chain"])
def test_a_judge_does_not_become_another_where_math_verify_is_missing(name, monkeypatch):
    monkeypatch.setattr(presets, "math_verify_installed", lambda: False)
    with pytest.raises(MissingExtraError, match="math-verify is not installed"):
        make_judge(name, **({"model": "m", "base_url": "http://h/v1"} if name == "chain" else {}))


def test_a_judge_of_ones_own_has_settings_of_its_own():
    @register_judge("test_longest")
    class Longest:
        def __init__(self, characters, strict=False):
            self.characters = characters

        def __call__(self, prediction, sample):
            return Verdict(float(len(prediction) <= self.characters), "longest")

    assert make_judge("test_longest", characters=3)("abcd", number("1", 1)).score == 0
    with pytest.raises(UsageError, match="takes no model; it takes characters, strict"):
        make_judge("test_longest", characters=3, model="m")
    with pytest.raises(UsageError, match="needs characters; give characters"):
        make_judge("test_longest")
    with pytest.raises(UnknownNameError, match=r"did you mean 'test_longest'\?"):
        make_judge("test_longst")
    with pytest.raises(UsageError, match="the judge 'rules' belongs to the package"):
        register_judge("rules", Longest)
