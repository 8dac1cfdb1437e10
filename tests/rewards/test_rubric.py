import asyncio
import math
import pickle
import threading

import pytest

from deepeyes_env.core import Message, RewardTerm, Sample, ToolCall, ToolResult, Trajectory, Turn
from deepeyes_env.errors import JudgeError, UsageError
from deepeyes_env.images import ImageRef
from deepeyes_env.judges import Judge, RuleJudge, Verdict
from deepeyes_env.rewards import Evidence, RoutedRubric, Rubric, Term, get_rubric, given_answer
from deepeyes_env.rewards.rubric import BaseRubric, ScoringError

IMAGE = ImageRef(b"never decoded", digest="0" * 64)


def episode(answer: str, name: str = "s", results: tuple[ToolResult, ...] = ()) -> Trajectory:
    sample = Sample(name, "Where?", "left", (IMAGE,))
    turns = (Turn("<think>a</think>", results=results), Turn(f"<answer>{answer}</answer>", answer=answer))
    return Trajectory(sample, Message("<image>\nWhere?", (IMAGE,)), turns=turns, terminated=True, stop_reason="answer")


class Counting:
    def __init__(self, score: float = 1.0) -> None:
        self.score = score
        self.asked: list[str] = []

    def __call__(self, prediction: str, sample: Sample) -> Verdict:
        self.asked.append(prediction)
        return Verdict(self.score, "counting")


class UnreachableFor:
    def __init__(self, *names: str) -> None:
        self.names = names

    def __call__(self, prediction: str, sample: Sample) -> Verdict:
        if sample.id in self.names:
            raise JudgeError("connection refused")
        return Verdict(1.0, "flaky")


ACCURACY = Term("acc", lambda e: e.correct)


def test_a_rubric_in_three_lines() -> None:
    rubric = Rubric(
        [Term("acc", lambda e: e.correct), Term("short", lambda e: float(len(e.trajectory.response) < 500), weight=0.1)]
    )
    scored = rubric(episode("left"))
    assert scored.reward == pytest.approx(1.1)
    assert scored.reward_terms == {"acc": RewardTerm(1.0, 1.0), "short": RewardTerm(1.0, 0.1)}
    assert (scored.terminated, scored.stop_reason) == (True, "answer")


def test_the_judge_is_asked_once_and_only_about_an_answer() -> None:
    judge = Counting()
    rubric = Rubric([Term("acc", lambda e: e.correct), Term("again", lambda e: e.correct)], judge=judge)
    rubric(episode("left"))
    assert judge.asked == ["left"]
    assert rubric(episode("")).reward == 0
    assert rubric(Trajectory(episode("x").sample, Message("<image>", (IMAGE,)))).reward == 0
    assert judge.asked == ["left"]
    scored = Rubric([Term("turns", lambda e: len(e.trajectory.turns))], judge=judge)(episode("left"))
    assert judge.asked == ["left", "left"]  # what is right is known whatever the reward is made of
    assert scored.right


@pytest.mark.parametrize(("length", "expected"), [(999, 0.8), (1000, -0.2), (10**6, -0.2)])
def test_an_answer_of_a_thousand_characters_is_not_judged(length: int, expected: float) -> None:
    judge = Counting()
    scored = get_rubric("deepeyes", judge)(episode("x" * length))
    assert scored.reward == pytest.approx(expected)
    assert len(judge.asked) == (length < 1000)


def test_a_tool_counts_when_a_call_returned_an_image() -> None:
    call = ToolCall("search", {})
    for result, used in [
        (ToolResult(call, images=(IMAGE,)), True),
        (ToolResult(call, text="nothing to see"), False),
        (ToolResult(call, "failed", "broken", images=(IMAGE,)), False),
    ]:
        evidence = Evidence(episode("left", results=(result,)), given_answer, RuleJudge())
        assert evidence.used_tool is used
        assert evidence.called("search")
        assert not evidence.called("zoom")


def test_an_abstaining_judge_is_an_error_not_a_zero() -> None:
    rubric = Rubric([ACCURACY], judge=lambda prediction, sample: None)
    with pytest.raises(JudgeError, match=r"'s1'.*abstained.*RuleJudge"):
        rubric(episode("left", "s1"))


def test_a_judge_that_returns_no_verdict_is_told_what_to_return() -> None:
    rubric = Rubric([ACCURACY], judge=lambda prediction, sample: True)
    with pytest.raises(UsageError, match=r"returned True, a bool; return Verdict\(score, judge\)"):
        rubric(episode("left"))


def test_an_unreachable_judge_is_an_error() -> None:
    with pytest.raises(JudgeError, match="connection refused"):
        Rubric([ACCURACY], judge=UnreachableFor("s"))(episode("left"))


def test_score_all_keeps_the_order_and_judges_at_once() -> None:
    together = threading.Barrier(8)

    class Waiting:
        def __call__(self, prediction: str, sample: Sample) -> Verdict:
            together.wait(timeout=60)  # passes only when eight threads are judging
            return Verdict(int(prediction) / 100, "waiting")

    rubric = Rubric([ACCURACY], judge=Waiting())
    scored = rubric.score_all((episode(str(i), f"s{i}") for i in range(24)), max_workers=8)
    assert [trajectory.reward for trajectory in scored] == [i / 100 for i in range(24)]
    assert [trajectory.sample.id for trajectory in scored] == [f"s{i}" for i in range(24)]
    assert rubric.score_all([]) == []


def test_score_all_loses_nothing_when_the_judge_fails_on_some() -> None:
    batch = [episode("left", f"s{i}") for i in range(10)]
    with pytest.raises(ScoringError, match=r"2 of 10.*3 \(sample 's3'\): connection refused") as caught:
        Rubric([ACCURACY], judge=UnreachableFor("s3", "s7")).score_all(batch)
    error = caught.value
    assert sorted(error.failed) == [3, 7]
    assert [trajectory.reward for trajectory in error.trajectories] == [0.0 if i in (3, 7) else 1.0 for i in range(10)]
    assert error.trajectories[3] is batch[3]
    retried = Rubric([ACCURACY]).score_all([error.trajectories[i] for i in error.failed])
    assert [trajectory.reward for trajectory in retried] == [1.0, 1.0]


def test_an_error_in_a_term_is_not_a_judges_error() -> None:
    rubric = Rubric([Term("broken", lambda e: 1 / 0)])
    with pytest.raises(ZeroDivisionError):
        rubric.score_all([episode("left")])


def test_ascore_all() -> None:
    batch = [episode("left"), episode("right")]
    scored = asyncio.run(Rubric([ACCURACY]).ascore_all(batch))
    assert [trajectory.reward for trajectory in scored] == [1.0, 0.0]


class OwnRubric(BaseRubric):
    """One that asks no judge."""

    def __call__(self, trajectory: Trajectory) -> Trajectory:
        return trajectory.scored({"turns": RewardTerm(float(len(trajectory.turns)), 1.0)}, None)

    def with_judge(self, judge: Judge) -> "OwnRubric":
        return self


def test_a_judge_beside_the_rubric_judges_batches_too() -> None:
    class Always:
        def __call__(self, prediction: str, sample: Sample) -> Verdict:
            return Verdict(0.25, "always")

    batch, rubric = [episode("left"), episode("right")], OwnRubric()
    assert [each.correct for each in rubric.score_all(batch)] == [1.0, 0.0]
    assert [each.correct for each in rubric.score_all(batch, judge=Always())] == [0.25, 0.25]
    assert [each.correct for each in asyncio.run(rubric.ascore_all(batch, judge=Always()))] == [0.25, 0.25]


def test_routes_by_data_source_and_replaces_every_judge() -> None:
    yes, no = Rubric([Term("acc", lambda e: 1.0)]), Rubric([ACCURACY])
    routed = RoutedRubric({"easy": yes}, default=no)
    easy = Sample("s", "Where?", "left", (IMAGE,), data_source="easy")
    assert routed(Trajectory(easy, Message("<image>", (IMAGE,)))).reward == 1
    assert routed(episode("right")).reward == 0
    assert routed.with_judge(Counting(0.5))(episode("right")).reward == 0.5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_term_that_is_no_number_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="'odd'.*'s'.*finite"):
        Rubric([Term("odd", lambda e: value)])(episode("left"))
    with pytest.raises(ValueError, match="weight"):
        Term("odd", lambda e: 0.0, weight=value)


def test_terms_need_names_of_their_own() -> None:
    for terms in ([], [ACCURACY, ACCURACY]):
        with pytest.raises(ValueError, match="names of their own"):
            Rubric(terms)
    with pytest.raises(ValueError, match="name is empty"):
        Term("", lambda e: 0.0)


def test_presets_can_be_sent_to_other_processes() -> None:
    for name in ("deepeyes", "paper", "deepeyes_v2"):
        copy = pickle.loads(pickle.dumps(get_rubric(name)))
        assert copy(episode("left")).reward_terms == get_rubric(name)(episode("left")).reward_terms
