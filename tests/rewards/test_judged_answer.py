"""What the environment took as the answer is what is judged: thoughts never are."""

from dataclasses import replace

import gymnasium as gym
import pytest

from deepeyes_env import Sample, register_toolbox
from deepeyes_env.agents.evaluation.scoring import judge
from deepeyes_env.core import Trajectory
from deepeyes_env.judges import RuleJudge
from deepeyes_env.trajectories.export import vlmevalkit
from tests.conftest import pattern

QUESTION = Sample("1", "Which colour is it?", "red", pattern(64, 48))
NONE = replace(QUESTION, env_name=None)
"""An ordinary question, as with ``--tools off``."""

register_toolbox("JudgedNatively-v0", tools=["image_zoom_in_tool"], protocol="native")


def split(thought: str, content: str) -> dict[str, str]:
    """A message whose thought the server took apart."""
    return {"role": "assistant", "reasoning_content": thought, "content": content}


def play(message: str | dict[str, str], toolbox: str = "JudgedNatively-v0", sample: Sample = QUESTION) -> Trajectory:
    env = gym.make(toolbox, dataset=[sample], view=None).unwrapped
    env.reset(seed=0)
    env.step(message)
    return replace(env.trajectory, metadata={"episode": 0})


PLACES = pytest.mark.parametrize(
    ("toolbox", "sample"),
    [("JudgedNatively-v0", QUESTION), ("VisualToolbox-v2", NONE)],
    ids=["native", "tools off"],
)
CASES = [
    (split("Perhaps <answer>red</answer>? No", "blue"), "blue", 0),
    (split("Perhaps <answer>blue</answer>? No", "red"), "red", 1),
    (split("I write it in <answer> tags", "red"), "red", 1),
    (split("It is red</think> or <answer>blue</answer>", "red"), "red", 1),
    (split("<answer>red</answer>", ""), None, 0),
    ("<think>Perhaps <answer>red</answer>? No</think>blue", "blue", 0),
    ("<think>Perhaps <answer>blue</answer>? No</think>red", "red", 1),
    ("<think>I write it in <answer> tags</think>red", "red", 1),
    ("I write it in <answer> tags</think>red", "red", 1),
    ("<think>Perhaps <answer>blue</answer>?</think><answer>red</answer>", "red", 1),
    ("<think><answer>red</answer></think>", None, 0),
    ("<think>It is red", None, 0),  # cut off: all of it is the thought
]


@PLACES
@pytest.mark.parametrize(("message", "answer", "score"), CASES)
def test_thoughts_are_not_judged(message, answer, score, toolbox, sample):
    episode = play(message, toolbox, sample)
    assert episode.answer == answer
    assert episode.stop_reason == ("format_error" if answer is None else "answer")
    assert episode.correct == score
    assert episode.reward_terms["acc"].raw == score
    assert judge(episode, RuleJudge()).value == score
    assert judge(episode, RuleJudge()).prediction == answer

    assert vlmevalkit.prediction_of(episode).prediction == (answer or vlmevalkit.NO_ANSWER)


TAGGED = [
    ("<think>Perhaps <answer>red</answer>? No</think><answer>blue</answer>", "blue", 0),
    ("<think>Perhaps <answer>blue</answer>? No</think><answer>red</answer>", "red", 1),
    ("<think><answer>red</answer></think>", None, 0),
    ("<think>a</think><answer>red", "red", 1),  # not closed: the message was cut off
    ("<think>a<answer>red</answer>", "red", 1),
    ("<answer>in <answer> tags: <answer>red</answer>", "red", 1),
    (split("<answer>red</answer>", "<answer>blue</answer>"), "blue", 0),
    (split("<answer>red</answer>", ""), None, 0),
]


@pytest.mark.parametrize("toolbox", [f"VisualToolbox-v{n}" for n in range(1, 6)])
@pytest.mark.parametrize(("message", "answer", "score"), TAGGED)
def test_what_is_read_once_is_judged(message, answer, score, toolbox):
    episode = play(message, toolbox)
    assert episode.answer == answer
    assert episode.correct == score
    assert judge(episode, RuleJudge()).prediction == answer


def test_an_answer_in_a_thought_does_not_win_over_the_call_behind_it():
    call = '<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [0, 0, 40, 40]}}</tool_call>'
    episode = play(f"<think>Perhaps <answer>red</answer>? I look.</think>{call}", "VisualToolbox-v2")
    assert episode.answer is None
    assert len(episode.results) == 1


def test_a_call_that_a_thought_mentions_does_not_hide_its_end():
    call = '<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [0, 0, 40, 40]}}</tool_call>'
    assert play(f"<think><answer>red</answer>, or <tool_call>?</think>{call}", "VisualToolbox-v2").answer is None
    said = call.replace("[0, 0, 40, 40]", '"<answer>red</answer></think>"')
    assert play(f"<think>a</think>{said}<answer>blue</answer>", "VisualToolbox-v2").answer == "blue"


def test_a_message_cut_off_in_a_call_is_no_answer():
    assert play('<answer> or a call? <tool_call>{"name', "VisualToolbox-v2").stop_reason == "format_error"


def test_an_episode_reads_the_same_from_its_text():
    for message, answer, _ in CASES:
        episode = play(message)
        assert play(episode.turns[-1].action).answer == answer
