"""What an evaluation found, in numbers."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from deepeyes_env.agents.evaluation.effects import CreditSummary
from deepeyes_env.agents.evaluation.rows import Row
from deepeyes_env.agents.evaluation.statistics import (
    NO_WIDTH,
    PairedTest,
    YesNoMetrics,
    bootstrap,
    majority_at_k,
    paired_test,
    pass_at_k,
    wilson,
    yes_no_metrics,
)
from deepeyes_env.agents.evaluation.tool_rates import ToolRate, tool_rates
from deepeyes_env.data.benchmarks import Benchmark
from deepeyes_env.judges.rules import UNCLEAR
from deepeyes_env.judges.yes_no import says

_SAID: Mapping[Any, Literal["yes", "no"]] = {("text", "yes"): "yes", ("text", "no"): "no"}


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean and how sure it is.

    Attributes:
        value: The mean.
        low: Lower end of its 95 % confidence interval.
        high: Upper end.
        questions: Over how many questions.
    """

    value: float
    low: float
    high: float
    questions: int


@dataclass(frozen=True, slots=True)
class AtK:
    """What several answers to each question are worth; over the questions that have that many.

    Attributes:
        k: How many answers.
        passed: pass@k: the chance that at least one of ``k`` is right.
        average: avg@k: the mean score of ``k``.
        majority: maj@k: the score of the most frequent answer of ``k`` repeats in a row, the first coming after the
            last; the mean over where that row begins. ``None`` where answers are boxes, of which no two are the same.
        questions: Over how many questions.
    """

    k: int
    passed: float
    average: float
    majority: float | None
    questions: int


@dataclass(frozen=True, slots=True)
class Condition:
    """How a policy did with tools, or without.

    Attributes:
        name: ``on`` or ``off``.
        episodes: How many were played.
        judged: How many of them have a verdict.
        accuracy: Mean score of the judged ones: Wilson's interval where each question was asked once or all came out
            alike, else a bootstrap over questions. ``None`` if none is judged.
        categories: The same by category, by field.
        at_k: pass@k, avg@k and maj@k for 1, 2, 4, ... and the number of repeats; empty without repeats.
        circular_accuracy: CircularEval (``--circular``): share of questions that were right in all orders of their
            options, of those that have a verdict in each; ``None`` if there are none.
        yes_no: Measures of yes-or-no answers, overall under ``""`` and by category.
        answer_iou: Mean overlap of answers that are boxes with the ground truth.
        tool_use_rate: Share of episodes in which a call returned an image.
        zoom_rate: Share of episodes in which a box was looked at.
        zoom_iou: Mean IoU of the best zoom box with the ground truth, over the episodes that have both.
        calls: Tool calls per episode, failed ones included.
        failed_calls: Calls that did not run, by reason.
        tools: Rates, errors and time of each tool.
        turns: Turns (messages of the policy) per episode.
        written_tokens: Tokens that the policy wrote per episode.
        tokens_counted: Whether those are the policy's own tokens; otherwise an estimate from bytes.
        context_tokens: Tokens of a whole conversation, images included, about.
        seconds: Seconds that the policy took per episode.
        stops: Why episodes ended.
        finishes: Why messages of the policy ended, where its backend says so.
        unknown_tools: Number of episodes by tool that the row's own prompt names and the toolbox lacks.
        cut: How many episodes had a message that was cut at max new tokens.
        no_option: How many answers name none of the options, or several, as rules read them.
    """

    name: str
    episodes: int
    judged: int
    accuracy: Estimate | None = None
    categories: Mapping[str, Mapping[str, Estimate]] = field(default_factory=dict)
    at_k: tuple[AtK, ...] = ()
    circular_accuracy: Estimate | None = None
    yes_no: Mapping[str, YesNoMetrics] = field(default_factory=dict)
    answer_iou: Estimate | None = None
    tool_use_rate: float = 0.0
    zoom_rate: float = 0.0
    zoom_iou: float | None = None
    calls: float = 0.0
    failed_calls: Mapping[str, int] = field(default_factory=dict)
    tools: Mapping[str, ToolRate] = field(default_factory=dict)
    turns: float = 0.0
    written_tokens: float = 0.0
    tokens_counted: bool = False
    context_tokens: float = 0.0
    seconds: float = 0.0
    stops: Mapping[str, int] = field(default_factory=dict)
    finishes: Mapping[str, int] = field(default_factory=dict)
    unknown_tools: Mapping[str, int] = field(default_factory=dict)
    cut: int = 0
    no_option: int = 0


@dataclass(frozen=True, slots=True)
class UnscoredEpisode:
    """An episode without a verdict.

    Attributes:
        episode: Its number.
        sample: Id of its sample, or its place in the data set if it could not be read.
        condition: ``on`` or ``off``.
        error: Why.
    """

    episode: int
    sample: str
    condition: str
    error: str


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found.

    Attributes:
        benchmark: Name of the benchmark.
        title: Its title.
        policy: Who was asked.
        judge: Who judged.
        settings: Everything that was set.
        planned: How many episodes there are in all.
        conditions: With tools, without, or both.
        difference: With tools minus without; ``None`` unless there are both.
        failed: Episodes that could not be played.
        unjudged: Episodes that could not be judged.
        missing: Episodes that were neither played nor tried: the run was stopped.
        credit: What calls were worth; ``None`` unless that was played (``--credit``).
    """

    benchmark: str
    title: str
    policy: str
    judge: Mapping[str, Any]
    settings: Mapping[str, Any]
    planned: int
    conditions: tuple[Condition, ...] = ()
    difference: PairedTest | None = None
    failed: tuple[UnscoredEpisode, ...] = ()
    unjudged: tuple[UnscoredEpisode, ...] = ()
    missing: int = 0
    credit: CreditSummary | None = None

    @property
    def complete(self) -> bool:
        """Whether every episode was played and judged."""
        return not (self.failed or self.unjudged or self.missing)

    def as_json(self) -> dict[str, Any]:
        """Return the report as JSON-able objects; what is not a number is ``None``."""
        plain: dict[str, Any] = _plain(asdict(self))
        return plain


def condition_of(name: str, rows: Sequence[Row], benchmark: Benchmark) -> Condition:
    """Return how a policy did, from the rows of one condition."""
    judged = [row for row in rows if row.score is not None]
    failed = Counter(status for row in rows for status in row.failed)
    ious = [row.iou for row in rows if row.iou is not None]
    return Condition(
        name=name,
        episodes=len(rows),
        judged=len(judged),
        accuracy=accuracy(judged),
        categories={each: by_category(judged, each) for each in benchmark.categories if by_category(judged, each)},
        at_k=at_k(judged, benchmark),
        circular_accuracy=_circular_accuracy(judged) if benchmark.grouped else None,
        yes_no=_yes_no(judged, benchmark) if benchmark.metric == "yes_no" else {},
        answer_iou=_estimate(judged, lambda row: row.box_iou or 0.0) if benchmark.metric == "box" else None,
        tool_use_rate=_mean(row.used_tool for row in rows),
        zoom_rate=_mean(row.zoomed for row in rows),
        zoom_iou=_mean(ious) if ious else None,
        calls=_mean(row.calls for row in rows),
        failed_calls=dict(failed.most_common()),
        tools=tool_rates([row.outcomes for row in rows]),
        turns=_mean(row.turns for row in rows),
        written_tokens=_mean(row.written for row in rows),
        tokens_counted=bool(rows) and all(row.counted for row in rows),
        context_tokens=_mean(row.context for row in rows),
        seconds=_mean(row.seconds for row in rows),
        stops=dict(Counter(row.stop for row in rows).most_common()),
        finishes=dict(Counter(reason for row in rows for reason in row.finishes).most_common()),
        unknown_tools=dict(Counter(name for row in rows for name in row.unknown_tools).most_common()),
        cut=sum("length" in row.finishes for row in rows),
        no_option=sum(row.reason in UNCLEAR for row in judged),
    )


def accuracy(judged: Sequence[Row]) -> Estimate | None:
    """Return the mean score of judged rows; ``None`` of none."""
    return _estimate(judged, lambda row: row.score or 0.0)


def by_category(judged: Iterable[Row], name: str) -> dict[str, Estimate]:
    """Return accuracy by the categories of one field, sorted by name."""
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in judged:
        for category in row.categories.get(name, ()):
            groups[category].append(row)
    found = {category: accuracy(groups[category]) for category in sorted(groups)}
    return {category: estimate for category, estimate in found.items() if estimate}


def at_k(judged: Sequence[Row], benchmark: Benchmark) -> tuple[AtK, ...]:
    """Return what several answers to each sample are worth; empty where there are no repeats."""
    samples: defaultdict[int, list[Row]] = defaultdict(list)
    for row in sorted(judged, key=lambda row: row.repeat):
        samples[row.sample].append(row)
    most = max(map(len, samples.values()), default=0)
    if most < 2:
        return ()
    sizes = sorted({most, *(2**i for i in range(most.bit_length()) if 2**i < most)})
    votes = benchmark.metric != "box"
    return tuple(_at(k, [rows for rows in samples.values() if len(rows) >= k], votes) for k in sizes)


def _at(k: int, samples: Sequence[Sequence[Row]], votes: bool) -> AtK:
    def right(rows: Sequence[Row]) -> int:
        return sum(row.right for row in rows)

    return AtK(
        k,
        passed=_mean(pass_at_k(len(rows), right(rows), k) for rows in samples),
        average=_mean(_mean(row.score or 0.0 for row in rows) for rows in samples),
        majority=_mean(_majority(rows, k) for rows in samples) if votes else None,
        questions=len({rows[0].question for rows in samples}),
    )


def _majority(rows: Sequence[Row], k: int) -> float:
    """Return maj@k of one sample, each repeat counting as often as any other."""
    starts = range(len(rows) if k < len(rows) else 1)
    around = [*rows, *rows]
    windows = (around[start : start + k] for start in starts)
    return _mean(majority_at_k([row.vote for row in each], [row.score or 0.0 for row in each]) for each in windows)


def difference(rows: Iterable[Row]) -> PairedTest | None:
    """Return with tools minus without, over the questions that have a verdict in both; ``None`` if there are none."""
    listed = list(rows)
    return paired(*(mean_scores(row for row in listed if row.condition == name) for name in ("off", "on")))


def mean_scores(rows: Iterable[Row]) -> dict[str, float]:
    """Return the mean score of each question that has a verdict, over its repeats and orders of options."""
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row.score is not None:
            scores[row.question].append(row.score)
    return {question: _mean(values) for question, values in scores.items()}


def paired(first: Mapping[str, float], second: Mapping[str, float]) -> PairedTest | None:
    """Return the second minus the first, over the questions that both have; ``None`` if there are none."""
    shared = [question for question in first if question in second]
    return paired_test([first[each] for each in shared], [second[each] for each in shared]) if shared else None


def _estimate(rows: Sequence[Row], value: Callable[[Row], float]) -> Estimate | None:
    return _mean_over([value(row) for row in rows], [row.question for row in rows])


def _mean_over(values: Sequence[float], questions: Sequence[str]) -> Estimate | None:
    """Return the mean of values in ``[0, 1]``, each of which belongs to a question; ``None`` of none."""
    if not values:
        return None
    mean, count = _mean(values), len(set(questions))
    once = count == len(values) and all(each in (0.0, 1.0) for each in values)
    interval = None if once else bootstrap(values, questions)
    if interval is None or interval.high - interval.low < NO_WIDTH:
        interval = wilson(min(mean, 1.0) * count, count)
    return Estimate(mean, interval.low, interval.high, count)


def _circular_accuracy(judged: Sequence[Row]) -> Estimate | None:
    """CircularEval: return the share of questions right in all orders of their options; each repeat asks them anew."""
    groups: defaultdict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in judged:
        groups[row.question, row.repeat].append(row)
    whole = {key: rows for key, rows in groups.items() if len({row.sample for row in rows}) >= rows[0].orders}
    right = [float(all(row.right for row in rows)) for rows in whole.values()]
    return _mean_over(right, [question for question, _ in whole])


def _yes_no(judged: Sequence[Row], benchmark: Benchmark) -> dict[str, YesNoMetrics]:
    groups: dict[str, list[Row]] = {"": []}
    for row in judged:
        if says(row.truth) is None:
            continue
        found = [category for name in benchmark.categories for category in row.categories.get(name, ())]
        # A question that several splits ask counts once for each, as in POPE's own tables and VLMEvalKit's.
        groups[""] += [row] * max(1, len(found))
        for category in found:
            groups.setdefault(category, []).append(row)
    return {name: _yes_no_of(group) for name, group in sorted(groups.items()) if group}


def _yes_no_of(rows: Sequence[Row]) -> YesNoMetrics:
    known = [(row, truth) for row in rows if (truth := says(row.truth))]
    # An answer's vote is what it says to its question, which a row does not hold.
    return yes_no_metrics([_SAID.get(row.vote) for row, _ in known], [truth for _, truth in known])


def _mean(values: Iterable[float]) -> float:
    listed = list(values)
    return math.fsum(listed) / len(listed) if listed else 0.0


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
