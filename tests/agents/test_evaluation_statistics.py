import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from deepeyes_env.agents.evaluation import statistics as ours

counts = st.integers(1, 200).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))


@given(counts, st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_wilson_is_scipys(count, confidence):
    right, total = count
    expected = stats.binomtest(right, total).proportion_ci(confidence, method="wilson")
    assert ours.wilson(right, total, confidence) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(counts)
def test_wilson_holds_the_share_and_narrows_with_more_questions(count):
    right, total = count
    low, high = ours.wilson(right, total)
    assert 0 <= low <= right / total <= high <= 1
    assert low < high
    narrow = ours.wilson(4 * right, 4 * total)
    assert narrow.high - narrow.low < high - low


@given(counts)
def test_wilson_mirrors(count):
    right, total = count
    low, high = ours.wilson(right, total)
    assert ours.wilson(total - right, total) == pytest.approx((1 - high, 1 - low))


def test_wilson_refuses_and_has_no_idea_without_questions():
    assert ours.wilson(0, 0) == (0.0, 1.0)
    with pytest.raises(ValueError, match="right=3, total=2"):
        ours.wilson(3, 2)
    with pytest.raises(ValueError, match=r"confidence=95"):
        ours.wilson(1, 2, 95)


def test_bootstrap_agrees_with_scipys():
    values = np.random.default_rng(3).random(60)
    expected = stats.bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20000, rng=np.random.default_rng(0)
    ).confidence_interval
    width = expected.high - expected.low
    assert ours.bootstrap(values.tolist()) == pytest.approx((expected.low, expected.high), abs=0.08 * width)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.integers(0, 5))
def test_bootstrap_stays_between_the_values_and_repeats_with_its_seed(values, seed):
    low, high = ours.bootstrap(values, seed=seed)
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert ours.bootstrap(values, seed=seed) == (low, high)


def test_repeats_of_one_question_are_drawn_together():
    values = [1.0] * 8 + [0.0] * 8
    alone = ours.bootstrap(values)
    together = ours.bootstrap(values, ["a"] * 8 + ["b"] * 8)
    assert together == (0.0, 1.0)
    assert alone.low > 0
    assert alone.high < 1
    assert ours.bootstrap(values, list(range(16))) == alone


def test_bootstrap_without_values_and_with_too_few_clusters():
    assert all(map(math.isnan, ours.bootstrap([])))
    with pytest.raises(ValueError, match="2 values and 1 clusters"):
        ours.bootstrap([1.0, 0.0], ["a"])


@given(st.integers(1, 7).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_draws_with_a_right_answer(case):
    from itertools import combinations

    total, right, k = case
    draws = list(combinations([True] * right + [False] * (total - right), k))
    assert ours.pass_at_k(total, right, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_refuses():
    with pytest.raises(ValueError, match=r"k=3"):
        ours.pass_at_k(2, 1, 3)
    with pytest.raises(ValueError, match="right=3"):
        ours.pass_at_k(2, 3, 1)


@given(st.integers(1, 50).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_pass_at_1_is_the_average(count):
    right, total = count
    assert ours.pass_at_k(total, right, 1) == pytest.approx(right / total)


@pytest.mark.parametrize(
    ("answers", "scores", "expected"),
    [
        (["a", "b", "a"], [1, 0, 1], 1),
        (["b", "a", "b"], [0, 1, 0], 0),
        (["a", "b"], [1, 0], 0.5),  # a tie counts as a draw among the winners
        (["a", "a", "b", "b", "c"], [1, 1, 0, 0, 0], 0.5),
        ([None, None, "a"], [0, 0, 1], 1),  # silence is no vote
        ([None, None], [0, 0], 0),
        ([], [], 0),
    ],
)
def test_majority(answers, scores, expected):
    assert ours.majority_at_k(answers, scores) == expected


@given(st.permutations([("a", 1.0), ("a", 1.0), ("b", 0.0), ("b", 0.0), (None, 0.0)]))
def test_majority_does_not_depend_on_the_order(votes):
    answers, scores = zip(*votes, strict=True)
    assert ours.majority_at_k(answers, scores) == 0.5


def test_majority_refuses():
    with pytest.raises(ValueError, match="1 answers and 2 scores"):
        ours.majority_at_k(["a"], [1, 0])


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_the_exact_binomial_test(better, worse):
    expected = stats.binomtest(better, better + worse).pvalue if better + worse else 1.0
    assert ours.mcnemar(better, worse) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_thousands_of_questions_does_not_overflow():
    assert 0 < ours.mcnemar(3000, 2700) < 1e-3


def test_paired_test_of_single_answers():
    found = ours.paired_test([0, 0, 0, 0, 0, 0, 1, 1], [1, 1, 1, 1, 1, 1, 1, 0])
    assert (found.method, found.better, found.worse, found.questions) == ("mcnemar", 6, 1, 8)
    assert found.difference == 5 / 8
    assert found.p_value == pytest.approx(stats.binomtest(1, 7).pvalue)
    assert found.interval.low < 5 / 8 < found.interval.high


def test_newcombes_interval_is_the_published_one():
    """Newcombe (1998), method 10, for the counts 36, 12, 2 and 0."""
    assert ours.newcombe(36, 12, 2, 50) == pytest.approx((0.0569, 0.3404), abs=5e-5)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_newcombes_interval_holds_the_difference_and_turns_round_with_it(both, better, worse, neither):
    total = both + better + worse + neither
    if total:
        low, high = ours.newcombe(both, better, worse, total)
        assert -1 - 1e-9 <= low < high <= 1 + 1e-9
        assert low - 1e-9 <= (better - worse) / total <= high + 1e-9
        assert ours.newcombe(both, worse, better, total) == pytest.approx((-high, -low), abs=1e-9)


def test_policies_that_agree_everywhere_may_still_differ():
    found = ours.paired_test([1, 1, 0, 1, 0], [1, 1, 0, 1, 0])
    assert (found.difference, found.p_value) == (0, 1)
    assert found.interval.low < -0.1
    assert found.interval.high > 0.1


@pytest.mark.parametrize("seed", range(4))
def test_paired_test_of_repeats_agrees_with_the_t_test(seed):
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 5, 200) / 4
    second = np.clip(first + rng.choice([-0.25, 0, 0.25], 200, p=[0.1, 0.65, 0.25]), 0, 1)
    found = ours.paired_test(first.tolist(), second.tolist())
    assert found.method == "sign_flip"
    expected = stats.ttest_rel(first, second).pvalue
    assert expected < 0.5  # or the test would tell little
    assert found.p_value == pytest.approx(expected, abs=0.02)
    assert found.interval.low < found.difference < found.interval.high


@given(st.lists(st.sampled_from([-1.0, -0.5, -0.25, 0.0, 0.25, 0.5]), min_size=2, max_size=9))
def test_few_questions_are_flipped_in_all_ways_as_scipy_does(gains):
    expected = stats.permutation_test(
        (np.array(gains),), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert ours.sign_flip(gains) == pytest.approx(expected.pvalue)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_a_few_questions_that_all_gained_prove_little(count):
    found = ours.paired_test([0.5] * count, [1.0] * count)
    assert found.p_value == pytest.approx(2 / 2**count)
    assert found.interval.low < 0.45 < 0.5 < 0.55 < found.interval.high


def test_the_interval_of_a_few_gains_is_not_narrower_than_they_allow():
    found = ours.paired_test([0.5, 0.5], [1.0, 0.75])
    assert found.p_value == 0.5
    assert found.interval.low < 0


def test_repeats_that_agree_everywhere_may_still_differ():
    found = ours.paired_test([0.5, 1, 0, 0.5], [0.5, 1, 0, 0.5])
    assert (found.difference, found.p_value) == (0, 1)
    assert found.interval.low < -0.1
    assert found.interval.high > 0.1


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20))
def test_a_paired_test_turned_round_finds_the_opposite(pairs):
    first, second = map(list, zip(*pairs, strict=True))
    there, back = ours.paired_test(first, second), ours.paired_test(second, first)
    assert there.difference == pytest.approx(-back.difference)
    assert there.interval == pytest.approx((-back.interval.high, -back.interval.low), abs=1e-9)
    assert (there.better, there.worse) == (back.worse, back.better)
    assert there.p_value == pytest.approx(back.p_value)
    assert 0 < there.p_value <= 1


def test_a_policy_does_not_differ_from_itself():
    assert ours.paired_test([0.5, 0.25], [0.5, 0.25]).p_value == 1
    assert ours.paired_test([1, 0], [1, 0]).p_value == 1


def test_paired_test_refuses():
    with pytest.raises(ValueError, match="1 and 2 scores"):
        ours.paired_test([1], [1, 0])
    with pytest.raises(ValueError, match="0 and 0"):
        ours.paired_test([], [])


answers = st.lists(st.tuples(st.sampled_from(["yes", "no"]), st.sampled_from(["yes", "no"])), min_size=1, max_size=40)


@given(answers)
def test_yes_no_metrics_follow_from_the_four_counts(pairs):
    predictions, truths = map(list, zip(*pairs, strict=True))
    found = ours.yes_no_metrics(predictions, truths)
    hits, false_alarms, misses = pairs.count(("yes", "yes")), pairs.count(("yes", "no")), pairs.count(("no", "yes"))
    assert found.precision == pytest.approx(hits / (hits + false_alarms) if hits + false_alarms else 0)
    assert found.recall == pytest.approx(hits / (hits + misses) if hits + misses else 0)
    wrong = false_alarms + misses
    assert found.f1 == pytest.approx(2 * hits / (2 * hits + wrong) if hits + wrong else 0)
    assert found.accuracy == pytest.approx((hits + pairs.count(("no", "no"))) / len(pairs))
    assert found.yes_ratio == predictions.count("yes") / len(predictions)


def test_an_answer_that_says_neither_is_wrong_and_no_yes():
    found = ours.yes_no_metrics(["yes", None, None, "no"], ["yes", "yes", "no", "no"])
    assert found == ours.YesNoMetrics(0.5, 1.0, 0.5, pytest.approx(2 / 3), 0.25, unanswered=2, total=4)


def test_yes_no_metrics_refuse_and_take_nothing():
    assert ours.yes_no_metrics([], []).accuracy == 0
    with pytest.raises(ValueError, match="1 predictions and 0 truths"):
        ours.yes_no_metrics(["yes"], [])
    with pytest.raises(ValueError, match="'maybe' is neither"):
        ours.yes_no_metrics(["yes"], ["maybe"])
