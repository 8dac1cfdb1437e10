"""What rows add up to: repeats, majorities, orders of options, intervals."""

import math
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env import Sample
from deepeyes_env.agents.evaluation import metrics
from deepeyes_env.agents.evaluation.rows import Row
from deepeyes_env.agents.evaluation.statistics import wilson
from deepeyes_env.agents.evaluation.votes import vote
from deepeyes_env.data.benchmarks import Benchmark

CHOICE = Benchmark("mine", "Mine", "", "choice", "rules")
BOX = Benchmark("refcoco", "refCOCO", "", "box", "box")
GROUPED = Benchmark("mine", "Mine", "", "choice", "rules", grouped=True)


def row(sample=0, repeat=0, score=1.0, **rest):
    given = {
        "episode": repeat * 1000 + sample,
        "condition": "on",
        "sample": sample,
        "sample_id": f"s{sample}",
        "question": f"s{sample}",
        "repeat": repeat,
        "orders": 1,
        "categories": {},
        "truth": "yes",
        "score": score,
        "answer": "x",
        "vote": "right" if score else "wrong",
    } | rest
    kinds = {"str": "", "bool": False, "int": 0, "float": 0.0}
    kinds |= {"tuple[str, ...]": (), "tuple[CallOutcome, ...]": ()}
    return Row(**{field.name: given.get(field.name, kinds.get(field.type)) for field in fields(Row)})


def repeats(*scores, sample=0, **rest):
    return [row(sample, repeat, float(score), **rest) for repeat, score in enumerate(scores)]


def at(rows, benchmark=CHOICE):
    return {each.k: each for each in metrics.condition_of("on", rows, benchmark).at_k}


# --- several answers to each question ----------------------------------------------------------------------------


def test_a_majority_of_one_is_the_average():
    found = at(repeats(0, 1, 1, 1))
    assert (found[1].passed, found[1].average, found[1].majority) == (0.75, 0.75, 0.75)
    assert found[2].majority == (0.5 + 1 + 1 + 0.5) / 4, "a tie is half right"
    assert found[4].majority == 1


@given(st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=7), min_size=1, max_size=4), st.integers(0, 6))
def test_majorities_use_every_repeat_whichever_comes_first(scores, turn):
    rows = [each for sample, given in enumerate(scores) for each in repeats(*given, sample=sample)]
    turned = [
        each
        for sample, given in enumerate(scores)
        for each in repeats(*given[turn % len(given) :], *given[: turn % len(given)], sample=sample)
    ]
    one, other = at(rows), at(turned[::-1])
    assert one.keys() == other.keys()
    for k in one:
        assert one[k].majority == pytest.approx(other[k].majority)
    assert one[1].majority == pytest.approx(one[1].passed) == pytest.approx(one[1].average)


def test_answers_that_are_boxes_have_no_majority():
    boxes = repeats(1, 0, 1, vote=None) + repeats(0, 0, 0, sample=1, vote=("text", "no idea"))
    assert {each.majority for each in at(boxes, BOX).values()} == {None}
    assert {each.majority for each in at(repeats(0, 0, vote=None)).values()} == {0.0}, "nobody said anything"


def test_questions_with_cycled_options_count_once():
    rows = [each for cycle in range(3) for each in repeats(1, 1, sample=cycle, question=f"q{cycle // 2}", orders=2)]
    assert {each.questions for each in at(rows, GROUPED).values()} == {2}


# --- all orders of the options -----------------------------------------------------------------------------------


def orders(*scores, question="q", repeat=0, first=0, of=None):
    return [
        row(first + i, repeat, float(score), question=question, orders=of or len(scores))
        for i, score in enumerate(scores)
        if score is not None
    ]


def circular_accuracy(rows):
    return metrics.condition_of("on", rows, GROUPED).circular_accuracy


def test_a_question_asked_in_some_of_its_orders_does_not_count():
    whole = orders(1, 1, 0, question="a") + orders(1, 1, 1, question="b", first=3)
    assert (circular_accuracy(whole).value, circular_accuracy(whole).questions) == (0.5, 2)
    begun = orders(1, 1, question="c", first=6, of=3)
    failed = orders(1, None, 1, question="d", first=9)
    assert circular_accuracy(whole + begun + failed) == circular_accuracy(whole)
    assert circular_accuracy(begun + failed) is None


def test_each_repeat_asks_a_question_in_all_orders():
    rows = orders(1, 1) + orders(1, 0, repeat=1) + orders(1, repeat=2, of=2)
    assert (circular_accuracy(rows).value, circular_accuracy(rows).questions) == (0.5, 1)


def test_the_same_order_twice_is_one():
    assert circular_accuracy([*orders(1, of=2), *orders(1, of=2)]) is None


# --- intervals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("score", "expected"), [(1, wilson(5, 5)), (0, wilson(0, 5))])
def test_answers_that_all_agree_are_not_certain(score, expected):
    rows = [each for sample in range(5) for each in repeats(*[score] * 4, sample=sample)]
    found = metrics.accuracy(rows)
    assert (found.value, found.questions) == (score, 5)
    assert (found.low, found.high) == pytest.approx(expected)


def test_questions_with_equal_means_are_not_certain():
    rows = [each for sample in range(5) for each in repeats(0, 1, 1, sample=sample)]
    found = metrics.accuracy(rows)
    assert (found.low, found.high) == pytest.approx(wilson(5 * 2 / 3, 5))
    one = metrics.accuracy(repeats(1, 1, 0, 1))
    assert one.low < 0.4 < 0.75 < one.high


def test_circular_accuracy_of_orders_that_all_agree_is_not_certain():
    rows = [
        each
        for repeat in range(3)
        for question in range(4)
        for each in orders(1, 1, question=f"q{question}", repeat=repeat, first=2 * question)
    ]
    found = circular_accuracy(rows)
    assert (found.value, found.questions) == (1, 4)
    assert (found.low, found.high) == pytest.approx(wilson(4, 4))


def test_overlaps_that_all_agree_are_not_certain():
    rows = [row(sample, score=0.0, box_iou=0.0) for sample in range(8)]
    assert metrics.condition_of("on", rows, BOX).answer_iou.high == pytest.approx(wilson(0, 8).high)


@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1, max_size=6))
def test_no_interval_is_empty_and_each_holds_its_mean(scores):
    rows = [each for sample, given in enumerate(scores) for each in repeats(*given, sample=sample)]
    found = metrics.accuracy(rows)
    assert found.value == pytest.approx(math.fsum(map(math.fsum, scores)) / sum(map(len, scores)))
    assert found.low < found.high
    assert found.low - 1e-9 <= found.value <= found.high + 1e-9


def test_yes_and_no_are_counted_as_their_judge_reads_them():
    asked = sample("Is there a dog in the image?")
    said = ["Yes", "I see a dog.", "There is a cat.", "No dog is visible.", "I am not sure"]
    rows = [row(i, truth="yes", answer=text, vote=vote(text, asked)) for i, text in enumerate(said)]
    found = metrics.condition_of("on", rows, Benchmark("pope", "POPE", "", "yes_no", "yes_no")).yes_no[""]
    assert (found.accuracy, found.yes_ratio, found.unanswered, found.total) == (2 / 5, 2 / 5, 2, 5)


def test_a_question_of_several_splits_counts_once_for_each():
    """Three rows as POPE.tsv has them, by hand: 6 questions of splits, of which 4 are right."""
    benchmark = Benchmark("pope", "POPE", "", "yes_no", "yes_no", ("split",))
    asked = sample("Is there a dog in the image?")
    every = {"split": ("adversarial", "popular", "random")}
    rows = [
        row(0, truth="yes", answer="Yes", vote=vote("Yes", asked), categories=every),
        row(1, truth="yes", answer="No", vote=vote("No", asked), categories={"split": ("popular", "random")}),
        row(2, truth="no", answer="No", vote=vote("No", asked), categories={"split": ("adversarial",)}),
    ]
    found = metrics.condition_of("on", rows, benchmark).yes_no
    assert {name: (each.accuracy, each.total) for name, each in found.items()} == {
        "": (4 / 6, 6),
        "adversarial": (1.0, 2),
        "popular": (0.5, 2),
        "random": (0.5, 2),
    }


def sample(question):
    return Sample(id="s", question=question, answer="yes", images=np.zeros((4, 4, 3), np.uint8))
