"""Statistics of an evaluation: intervals, repeats, paired tests, yes or no. Plain functions of plain numbers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from deepeyes_env.errors import UsageError

RESAMPLES = 2000
"""How often a bootstrap draws: the ends of a 95 % interval move by about a twentieth of its width from seed to seed."""

FLIPPED = 14
"""Up to this many questions, all ways to turn their gains round are looked at."""

FEW = 6
"""Fewer questions with a gain cannot be significant at 5 %, and a bootstrap of them is too narrow."""

NO_WIDTH = 1e-9
"""A bootstrap of questions that all came out alike is this narrow: it knows nothing of any others."""

_DRAWN_AT_ONCE = 1 << 20  # all resamples of a large benchmark at once would take gigabytes

YesNo: TypeAlias = Literal["yes", "no"]


class Interval(NamedTuple):
    """A confidence interval."""

    low: float
    high: float


def wilson(right: float, total: int, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval of a proportion (Wilson 1927); stays in ``[0, 1]`` and is not empty at 0 and 1.

    Args:
        right: How many were right; partial credit may be added up.
        total: Out of how many independent ones. Repeats of one question are not: see ``bootstrap``.
        confidence: From 0 to 1.

    Raises:
        UsageError: ``right`` is not in ``[0, total]``, or ``confidence`` not in ``(0, 1)``.
    """
    if not 0 <= right <= total:
        raise UsageError(f"wilson(right={right}, total={total}): needs 0 <= right <= total")
    if total == 0:
        return Interval(0.0, 1.0)
    z = _normal_quantile(confidence)
    share = right / total
    scale = 1 + z * z / total
    centre = (share + z * z / (2 * total)) / scale
    half = z / scale * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    low = 0.0 if right == 0 else max(0.0, centre - half)
    high = 1.0 if right == total else min(1.0, centre + half)
    return Interval(low, high)


def bootstrap(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval:
    """Return the percentile bootstrap interval of a mean (Efron 1979).

    Args:
        values: The values.
        clusters: What is drawn as a whole, one name a value: the question of which the values are repeats. By default
            each value is drawn on its own.
        confidence: From 0 to 1.
        seed: Equal seeds give equal intervals.

    Returns:
        The interval; ``(nan, nan)`` without values.

    Raises:
        UsageError: ``clusters`` has another length, or ``confidence`` is not in ``(0, 1)``.
    """
    tail = _tail(confidence)
    if not len(values):
        return Interval(math.nan, math.nan)
    means = _resampled_means(values, clusters, seed)
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(float(low), float(high))


def pass_at_k(total: int, right: int, k: int) -> float:
    """Return the chance that at least one of ``k`` answers is right, of ``total`` of which ``right`` are.

    The unbiased estimator ``1 - C(total - right, k) / C(total, k)`` (Chen et al., arXiv 2107.03374).

    Raises:
        UsageError: Not ``0 <= right <= total`` and ``1 <= k <= total``.
    """
    if not (0 <= right <= total and 1 <= k <= total):
        raise UsageError(f"pass_at_k(total={total}, right={right}, k={k}): needs 0 <= right <= total, 1 <= k <= total")
    return 1.0 - math.comb(total - right, k) / math.comb(total, k)


def majority_at_k(answers: Sequence[Hashable | None], scores: Sequence[float]) -> float:
    """Return the score of the answer that most of ``k = len(answers)`` repeats gave to one question.

    Args:
        answers: The answers in a form in which equal ones are equal (``votes.vote``); ``None``
            is no vote.
        scores: The score of each.

    Returns:
        The mean score of the votes for the winner; of several winners with equally many votes, the mean over them, as
        if one were drawn. 0 if nobody voted.

    Raises:
        UsageError: The two differ in length.
    """
    if len(answers) != len(scores):
        raise UsageError(f"majority_at_k: {len(answers)} answers and {len(scores)} scores; needs as many")
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return 0.0
    most = max(votes.values())
    of_winners = [score for answer, score in zip(answers, scores, strict=True) if votes.get(answer) == most]
    return math.fsum(of_winners) / len(of_winners)  # winners have equally many votes: the mean over votes is theirs


@dataclass(frozen=True, slots=True)
class PairedTest:
    """What a paired comparison of two policies on the same questions found.

    Attributes:
        difference: Mean of the second minus mean of the first.
        interval: 95 % interval of the difference: Newcombe's with McNemar's test, else a bootstrap over questions;
            where all of them gained alike, which leaves a bootstrap no width, or fewer than ``FEW`` at all,
            Newcombe's for unrelated means.
        p_value: Two-sided, of the hypothesis that there is no difference.
        method: ``"mcnemar"`` (exact) if every question has one score of 0 or 1 in each, else ``"sign_flip"``.
        better: On how many questions the second scored higher.
        worse: On how many it scored lower.
        questions: On how many questions they were compared.
    """

    difference: float
    interval: Interval
    p_value: float
    method: Literal["mcnemar", "sign_flip"]
    better: int
    worse: int
    questions: int


def paired_test(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> PairedTest:
    """Compare two policies on the same questions.

    Args:
        first: One score a question; the mean of its repeats if there are several.
        second: The other policy's scores, in the same order of questions.
        seed: Seeds what is drawn.

    Raises:
        UsageError: The two differ in length, or are empty.
    """
    if len(first) != len(second) or not len(first):
        raise UsageError(
            f"paired_test: {len(first)} and {len(second)} scores; needs one of each policy for each question, and one "
            "question at least"
        )
    gains = np.asarray(second, dtype=float) - np.asarray(first, dtype=float)
    better, worse = int((gains > 0).sum()), int((gains < 0).sum())
    if {*first, *second} <= {0.0, 1.0}:
        method: Literal["mcnemar", "sign_flip"] = "mcnemar"
        p_value = mcnemar(better, worse)
        interval = newcombe(int((np.asarray(first) * second).sum()), better, worse, len(first))
    else:
        method, p_value = "sign_flip", sign_flip(gains.tolist(), seed=seed)
        interval = bootstrap(gains.tolist(), seed=seed)
        if better + worse < FEW or interval.high - interval.low < NO_WIDTH:
            interval = _squared_up(math.fsum(first), math.fsum(second), len(first))
    return PairedTest(float(gains.mean()), interval, p_value, method, better, worse, len(first))


def mcnemar(better: int, worse: int) -> float:
    """Return the two-sided p-value of McNemar's exact test: is a coin that shows such counts fair?

    Args:
        better: Questions that only the second policy got right.
        worse: Questions that only the first one got right.
    """
    flips = better + worse
    if flips == 0:
        return 1.0
    tail, ways = 0, 1  # ways: the binomial coefficient of flips and i
    for i in range(min(better, worse) + 1):
        tail += ways
        ways = ways * (flips - i) // (i + 1)
    return min(1.0, float(2 * tail / 2**flips))


def newcombe(both: int, better: int, worse: int, total: int) -> Interval:
    """Return the 95 % interval of the difference of two proportions in pairs (Newcombe 1998, method 10).

    It squares up the Wilson intervals of the two, corrected for how the pairs correlate; so it has a width even where
    the two agree on every question.

    Args:
        both: Questions that both policies got right.
        better: Questions that only the second got right.
        worse: Questions that only the first got right.
        total: All questions.
    """
    neither = total - both - better - worse
    one, other = both + worse, both + better
    agreement = both * neither - better * worse
    corrected = max(agreement - total / 2, 0.0) if agreement > 0 else agreement
    spread = one * (total - one) * other * (total - other)
    correlation = corrected / math.sqrt(spread) if spread else 0.0
    return _squared_up(one, other, total, correlation)


def _squared_up(one: float, other: float, total: int, correlation: float = 0.0) -> Interval:
    """Square up the Wilson intervals of two proportions ``one / total`` and ``other / total``."""
    first, second = one / total, other / total
    around_first, around_second = wilson(min(one, total), total), wilson(min(other, total), total)

    def width(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * correlation * a * b + b * b))

    difference = second - first
    return Interval(
        difference - width(second - around_second.low, around_first.high - first),
        difference + width(around_second.high - second, first - around_first.low),
    )


def sign_flip(gains: Sequence[float], *, seed: int = 0) -> float:
    """Return the two-sided p-value of a sign-flip test: could each question's gain as well have been a loss?

    Fisher's randomization test for pairs (1935): the share of all ways to turn gains round in which their mean is as
    far from 0 as the observed one. Exact for up to ``FLIPPED`` questions with a gain; of more, ``RESAMPLES``
    ways are drawn, and the observed one counts as one of them.

    Args:
        gains: How much better the second policy did on each question.
        seed: Seeds what is drawn.
    """
    moved = np.array([gain for gain in gains if gain])
    least = abs(float(moved.sum())) - NO_WIDTH
    if len(moved) <= FLIPPED:
        ways = np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1
        return float((np.abs((1 - 2 * ways) @ moved) >= least).mean())
    rng = np.random.default_rng(seed)
    at_once = max(1, _DRAWN_AT_ONCE // len(moved))
    as_far = 0
    for start in range(0, RESAMPLES, at_once):
        signs = rng.integers(2, size=(min(at_once, RESAMPLES - start), len(moved)), dtype=np.int8)
        as_far += int((np.abs((1 - 2 * signs) @ moved) >= least).sum())
    return (as_far + 1) / (RESAMPLES + 1)


@dataclass(frozen=True, slots=True)
class YesNoMetrics:
    """Measures of yes-or-no answers, "yes" being the positive class (POPE, arXiv 2305.10355).

    Attributes:
        accuracy: Share of right answers; an answer that says neither is wrong.
        precision: Share of "yes" that are right; 0 without any.
        recall: Share of questions to be answered "yes" that were; 0 without any.
        f1: Harmonic mean of precision and recall; 0 if both are.
        yes_ratio: Share of questions answered "yes".
        unanswered: How many answers said neither.
        total: How many questions.
    """

    accuracy: float
    precision: float
    recall: float
    f1: float
    yes_ratio: float
    unanswered: int
    total: int


def yes_no_metrics(predictions: Sequence[YesNo | None], truths: Sequence[YesNo]) -> YesNoMetrics:
    """Measure yes-or-no answers.

    Args:
        predictions: What each answer says (``deepeyes_env.judges.yes_no.says``); ``None`` for neither.
        truths: The right answers.

    Raises:
        UsageError: The two differ in length, or a truth is neither.
    """
    if len(predictions) != len(truths):
        raise UsageError(f"yes_no_metrics: {len(predictions)} predictions and {len(truths)} truths; needs as many")
    if wrong := {*truths} - {"yes", "no"}:
        raise UsageError(f"yes_no_metrics: truth {sorted(map(str, wrong))[0]!r} is neither 'yes' nor 'no'")
    pairs = Counter(zip(predictions, truths, strict=True))
    hits, false_alarms = pairs["yes", "yes"], pairs["yes", "no"]
    precision = _ratio(hits, hits + false_alarms)
    recall = _ratio(hits, truths.count("yes"))
    return YesNoMetrics(
        accuracy=_ratio(hits + pairs["no", "no"], len(truths)),
        precision=precision,
        recall=recall,
        f1=_ratio(2 * precision * recall, precision + recall),
        yes_ratio=_ratio(hits + false_alarms, len(truths)),
        unanswered=predictions.count(None),
        total=len(truths),
    )


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


def _tail(confidence: float) -> float:
    if not 0 < confidence < 1:
        raise UsageError(f"confidence={confidence}: must be between 0 and 1, such as 0.95")
    return (1 - confidence) / 2


def _normal_quantile(confidence: float) -> float:
    return NormalDist().inv_cdf(1 - _tail(confidence))


def _resampled_means(values: Sequence[float], clusters: Sequence[Hashable] | None, seed: int) -> NDArray[np.float64]:
    """Draw whole clusters with replacement, ``RESAMPLES`` times, and return the mean of the values each time."""
    if clusters is None:
        sums, counts = np.asarray(values, dtype=float), np.ones(len(values))
    else:
        if len(clusters) != len(values):
            raise UsageError(f"bootstrap: {len(values)} values and {len(clusters)} clusters; needs as many")
        number = {cluster: i for i, cluster in enumerate(dict.fromkeys(clusters))}
        of_value = np.array([number[cluster] for cluster in clusters])
        sums, counts = np.bincount(of_value, weights=values), np.bincount(of_value).astype(float)
    rng = np.random.default_rng(seed)
    at_once = max(1, _DRAWN_AT_ONCE // len(sums))
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, at_once):
        stop = min(start + at_once, RESAMPLES)
        drawn = rng.integers(len(sums), size=(stop - start, len(sums)))
        means[start:stop] = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    return means
