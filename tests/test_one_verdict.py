"""Was it right, did it look, how well: one answer in training, evaluation, playing by hand and every table."""

from dataclasses import replace

import gymnasium as gym
import pytest

from deepeyes_env import Rubric, Sample, Term, agents
from deepeyes_env.agents.evaluation import evaluate
from deepeyes_env.agents.evaluation.scoring import Scoring, judge
from deepeyes_env.agents.human.state import RunningScore
from deepeyes_env.agents.progress import RunningResult
from deepeyes_env.core import Trajectory
from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.judges import RuleJudge, Verdict
from deepeyes_env.rewards import BaseRubric
from deepeyes_env.trajectories import read_trajectories, summarise
from tests.conftest import pattern, zoom_text

ROTATE = '<tool_call>{"name": "image_rotate_tool", "arguments": {"angle": 90}}</tool_call>'
QUESTION = Sample("1", "Which colour?", "red", pattern(400, 300), boxes=[(40, 40, 200, 200)])
BRIEF = Rubric([Term("brief", lambda evidence: float(len(evidence.trajectory.turns) < 2))])


def play(*messages: str, **kwargs) -> Trajectory:
    env = gym.make("VisualToolbox-v2", dataset=[QUESTION], view=None, **kwargs).unwrapped
    env.reset(seed=0)
    for message in messages:
        env.step(message)
    return env.trajectory


def rollout_metrics(*episodes: Trajectory) -> dict[str, float]:
    pytest.importorskip("torch")
    from deepeyes_env.trainers.grpo.metrics import rollout_metrics

    return rollout_metrics(episodes)


def half_right(prediction: str, sample: Sample) -> Verdict:
    return Verdict(0.6, "half")


class Bare(BaseRubric):
    """A rubric that asks no judge."""

    def __call__(self, trajectory):
        return trajectory.scored({})

    def with_judge(self, judge):
        return self


def test_an_episode_that_only_rotates_used_a_tool_and_zoomed_nowhere():
    episode = play(ROTATE, "<answer>red</answer>")
    assert (episode.used_tool, episode.looks) == (True, ())
    metrics = rollout_metrics(episode)
    assert (metrics["tool/rate"], metrics["zoom/rate"]) == (1, 0)
    looked = play(zoom_text([40, 40, 200, 200]), "<answer>red</answer>")
    assert rollout_metrics(looked)["zoom/rate"] == 1
    assert looked.best_iou == 1


@pytest.mark.integration
def test_evaluation_counts_that_episode_as_training_does(tmp_path):
    class Rotates:
        name = "rotates"

        def act(self, episodes):
            return [agents.Reply("<answer>red</answer>" if each.turns else ROTATE) for each in episodes]

    benchmark, dataset = open_benchmark("jsonl", [QUESTION])
    report = evaluate(
        benchmark, dataset, Rotates(), Scoring(RuleJudge(), "rules"), out=tmp_path / "run", progress=False
    )
    (episode,) = read_trajectories(tmp_path / "run")
    assert report.conditions[0].zoom_rate == rollout_metrics(episode)["zoom/rate"] == 0


def test_a_graded_verdict_is_the_same_accuracy_everywhere():
    episode = play("<answer>dark red</answer>", judge=half_right)
    assert (episode.correct, episode.right) == (0.6, True)
    score, result = RunningScore(1), RunningResult()
    score.add(episode)
    result.add(episode)
    assert summarise([episode]).accuracy == rollout_metrics(episode)["accuracy"] == 0.6
    assert score.as_json()["accuracy"] == 0.6
    assert "accuracy 0.600" in str(result)


@pytest.mark.parametrize("rubric", [BRIEF, Bare()], ids=["terms", "no terms"])
def test_right_is_the_judges_verdict_whatever_the_rubric(rubric):
    right, wrong = (play(f"<answer>{answer}</answer>", rubric=rubric) for answer in ("red", "blue"))
    assert (right.right, wrong.right) == (True, False)
    assert rollout_metrics(right, wrong)["accuracy"] == 0.5
    assert play("neither call nor answer", rubric=rubric).right is False


@pytest.mark.parametrize("rubric", [BRIEF, Bare()], ids=["terms", "no terms"])
def test_evaluation_gives_the_verdict_whatever_the_rubric(rubric):
    """Under a rubric that asks no judge right answers were 0.0 %."""
    for answer, score in (("red", 1.0), ("blue", 0.0)):
        episode = replace(play(f"<answer>{answer}</answer>", rubric=None), metadata={"episode": 0})
        assert judge(episode, RuleJudge(), rubric).value == score


def test_without_a_rubric_nobody_has_judged():
    episode = play("<answer>red</answer>", rubric=None)
    assert episode.right is None
    assert "accuracy" not in rollout_metrics(episode)
    assert summarise([episode]).accuracy is None


def test_the_verdict_is_recorded(tmp_path):
    agents.rollout("VisualToolbox-v2", "blind", episodes=6, out=tmp_path / "run", rubric=BRIEF, progress=False)
    verdicts = [episode.right for episode in read_trajectories(tmp_path / "run")]
    assert set(verdicts) == {True, False}


@pytest.mark.integration
def test_accuracy_under_a_rubric_of_ones_own_reaches_a_training_run(tmp_path):
    """It was in no table, log or curve: neither for training nor for held-out episodes."""
    pytest.importorskip("torch")
    from deepeyes_env.rewards import register_rubric
    from deepeyes_env.trainers.grpo.config import load_config
    from deepeyes_env.trainers.grpo.run import METRICS, run
    from deepeyes_env.trainers.tracking import read_metrics

    register_rubric("brief_only", BRIEF)
    settings = [
        "steps=1", "rollout.prompts=2", "rollout.group_size=2", "rollout.backend=threads",
        "evaluation.samples=4", "evaluation.every=1",
        "env.rubric=brief_only", f"out={tmp_path / 'run'}",
    ]  # fmt: skip
    run(load_config(settings))
    rows = read_metrics(tmp_path / "run" / METRICS)
    assert any("accuracy" in row for row in rows)
    assert any("eval/accuracy" in row for row in rows)
