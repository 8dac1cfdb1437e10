"""Rubrics that judge by a model: in the environment's step, and over many trajectories at once."""

import pickle
import threading

import gymnasium as gym
import pytest

from deepeyes_env.core import Message, Trajectory, Turn
from deepeyes_env.errors import JudgeError
from deepeyes_env.judges import LLMJudge
from deepeyes_env.rewards import Rubric, Term, get_rubric
from deepeyes_env.rewards.rubric import ScoringError
from tests.conftest import zoom_text
from tests.judges.judging_model import IMAGE, case_of, honest, question
from tests.servers.faulty import FaultyServer

ACCURACY = Term("acc", lambda e: e.correct)


def episode(answer: str) -> Trajectory:
    turns = (Turn(f"<answer>{answer}</answer>", answer=answer),)
    return Trajectory(question("red"), Message("<image>\n?", (IMAGE,)), turns=turns, terminated=True)


def knows_vermilion(request) -> str:
    return f"Judgement {case_of(request)['code']}: {int('vermilion' in case_of(request)['given'])}"


def play(env: gym.Env, answer: str) -> tuple[float, dict]:
    env.reset(seed=0)
    env.step(zoom_text((100, 100, 300, 260)))
    _, reward, terminated, _, info = env.step(f"<think>Seen.</think><answer>{answer}</answer>")
    assert terminated
    return float(reward), info["reward_terms"]


def test_a_step_is_rewarded_by_the_model(sample) -> None:
    with FaultyServer(knows_vermilion) as server:
        rubric = get_rubric("deepeyes", judge=LLMJudge("tiny", server.url))
        env = gym.make("VisualToolbox-v2", dataset=[sample], rubric=rubric)
        reward, terms = play(env, "vermilion")
        assert reward == pytest.approx(2.0)
        assert terms["acc"].raw == 1
        assert play(env, "azure")[0] == 0
        assert play(env, "x" * 1000)[0] == pytest.approx(-0.2)
        env.close()
    assert len(server.requests) == 2
    assert "\nOptions:\nA. " in server.requests[0]["messages"][-1]["content"]


def test_a_step_raises_when_the_model_cannot_be_asked(sample) -> None:
    with FaultyServer(lambda request: "Judgement: 1") as server:
        rubric = get_rubric("deepeyes", judge=LLMJudge("tiny", server.url, retries=0))
        env = gym.make("VisualToolbox-v2", dataset=[sample], rubric=rubric)
        with pytest.raises(JudgeError, match="no judgement"):
            play(env, "vermilion")
        env.close()


@pytest.mark.integration
def test_many_trajectories_are_judged_at_once() -> None:
    together = threading.Barrier(16)

    def slow(request):
        together.wait(20)  # passes only if 16 requests are under way at once
        return honest(request)

    with FaultyServer(slow) as server:
        rubric = Rubric([ACCURACY], judge=LLMJudge("tiny", server.url))
        batch = [episode("red" + "." * i if i % 2 else f"blue {i}") for i in range(64)]
        scored = rubric.score_all(batch, max_workers=16)
    assert [trajectory.reward for trajectory in scored] == [i % 2 for i in range(64)]
    assert server.peak == 16


def test_trajectories_that_could_not_be_judged_are_listed_and_judged_later(tmp_path) -> None:
    def stubborn(request):
        return "I will not say." if ill and case_of(request)["given"].endswith("3") else honest(request)

    ill = True
    with FaultyServer(stubborn) as server:
        rubric = Rubric([ACCURACY], judge=LLMJudge("tiny", server.url, retries=0, cache=tmp_path / "c"))
        batch = [episode(f"red{'.' * i}") if i % 2 == 0 else episode(f"blue {i}") for i in range(24)]
        with pytest.raises(ScoringError, match="3 of 24 trajectories could not be judged") as raised:
            rubric.score_all(batch)
        assert sorted(raised.value.failed) == [3, 13, 23]
        asked, ill = len(server.requests), False
        assert [t.reward for t in rubric.score_all(batch)] == [1 - i % 2 for i in range(24)]
        assert len(server.requests) == asked + 3


def test_a_preset_with_a_model_travels_to_other_processes() -> None:
    with FaultyServer(honest) as server:
        rubric = pickle.loads(pickle.dumps(get_rubric("deepeyes", judge=LLMJudge("tiny", server.url))))
        assert rubric(episode("red")).reward == pytest.approx(0.8)
