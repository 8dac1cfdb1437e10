"""The agents that need no model: what they score, and that they write what each variant reads."""

import json
from dataclasses import replace
from itertools import pairwise
from math import sqrt
from random import Random
from statistics import mean
from typing import Literal

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env import Image, Sample, ViewBudget, agents, register_toolbox, tool
from deepeyes_env.agents.random_agent import random_argument
from deepeyes_env.agents.scripted import NoisyAgent, OracleAgent, guess, padded, right_answer
from deepeyes_env.data import load
from deepeyes_env.data.benchmarks.transforms import box_text
from deepeyes_env.data.visual_search import ImageSearch, NestedSearch
from deepeyes_env.errors import UnknownNameError
from deepeyes_env.images.box_sides import MIN_ZOOM_SIDE
from deepeyes_env.images.frames import FRAMES
from deepeyes_env.judges.boxes import BoxJudge
from deepeyes_env.tools import ZoomTool

VARIANTS = [f"VisualToolbox-v{n}" for n in range(1, 6)]


def play(env, agent, episodes=30, **kwargs):
    return agents.rollout(env, agent, episodes=episodes, progress=False, **kwargs)


def begun(sample, env="VisualToolbox-v2", **kwargs):
    made = gym.make(env, **kwargs).unwrapped
    _, info = made.reset(seed=0, options={"sample": sample})
    return made, info["trajectory"]


def finished(env, trajectory, agent):
    while not trajectory.done:
        env.step(agent.act([trajectory])[0].message)
        trajectory = env.trajectory
    return trajectory


def holds(outer, inner, slack=1e-6):
    """Whether a box holds another one, give or take some pixels."""
    corners = ((outer[0], inner[0]), (outer[1], inner[1]), (inner[2], outer[2]), (inner[3], outer[3]))
    return all(low <= high + slack for low, high in corners)


def assert_at_chance(run):
    chances = [1 / len(trajectory.sample.options) for trajectory in run.trajectories]
    deviation = sqrt(sum(p * (1 - p) for p in chances)) / len(chances)
    assert abs(run.summary.accuracy - mean(chances)) < 3 * deviation


@pytest.mark.integration
def test_the_reward_separates_looking_from_guessing():
    oracle = play("VisualToolbox-v2", "oracle", episodes=40)
    blind = play("VisualToolbox-v2", "blind", episodes=40)
    assert oracle.summary.accuracy == 1.0
    assert {trajectory.reward for trajectory in oracle.trajectories} == {0.8 + 1.2}
    assert oracle.summary.failed_calls == {}
    assert_at_chance(blind)
    assert {trajectory.reward for trajectory in blind.trajectories} == {0.0, 0.8}


@pytest.mark.parametrize("env", VARIANTS)
def test_every_variant_separates(env):
    oracle = play(env, "oracle")
    assert (oracle.summary.accuracy, oracle.summary.failed_calls) == (1.0, {})
    assert {t.reward for t in oracle.trajectories} == {0.8 + (0.4 if env.endswith("v1") else 1.2)}
    assert all(len(t.results) == len(t.sample.boxes) > 0 for t in oracle.trajectories)
    assert_at_chance(play(env, "blind", episodes=60))


@pytest.mark.parametrize("frame", FRAMES)
def test_the_oracle_looks_at_the_truth_in_every_frame(frame):
    for trajectory in play("VisualToolbox-v2", "oracle", episodes=8, frame=frame).trajectories:
        for result, truth in zip(trajectory.results, trajectory.sample.boxes, strict=True):
            assert holds(result.box, truth, slack=1)
            assert result.box[2] - result.box[0] < 2 * max(truth[2] - truth[0], truth[3] - truth[1], MIN_ZOOM_SIDE)


@given(
    size=st.tuples(st.integers(MIN_ZOOM_SIDE, 9000), st.integers(MIN_ZOOM_SIDE, 9000)),
    shares=st.tuples(*[st.floats(0, 1)] * 4),
    margin=st.floats(0, 2),
)
def test_a_padded_box_is_legal_and_holds_the_truth(size, shares, margin):
    x1, x2 = sorted((shares[0] * size[0], shares[1] * size[0]))
    y1, y2 = sorted((shares[2] * size[1], shares[3] * size[1]))
    box = padded((x1, y1, x2, y2), size, margin)
    width, height = box[2] - box[0], box[3] - box[1]
    assert holds((0, 0, *size), box)
    assert holds(box, (x1, y1, x2, y2))
    assert min(width, height) >= MIN_ZOOM_SIDE - 1e-6
    if max(width, height) <= 50 * min(size):
        assert max(width, height) <= 51 * min(width, height)


def test_the_oracle_answers_at_once_without_boxes_and_at_the_last_turn(sample):
    for changed, kwargs in [({"boxes": ()}, {}), ({}, {"max_turns": 1}), ({"env_name": None}, {})]:
        env, trajectory = begun(replace(sample, **changed), **kwargs)
        ended = finished(env, trajectory, agents.make_agent("oracle", **kwargs))
        assert (len(ended.turns), ended.reward_terms["acc"].raw, ended.reward_terms["format"].raw) == (1, 1.0, 0.0)


def test_the_oracle_gives_up_looking_when_a_call_fails(sample):
    register_toolbox("Farsighted-v0", tools=[ZoomTool(min_side=500)])
    env, trajectory = begun(replace(sample, boxes=sample.boxes * 2), "Farsighted-v0")
    ended = finished(env, trajectory, agents.make_agent("oracle"))
    assert [result.status for result in ended.results] == ["bad_arguments"]
    assert ended.reward_terms["acc"].raw == 1.0


def test_a_prompt_that_asks_for_a_box_gets_one(sample):
    question = "What is 3 + 4? Put it in \\boxed{}."
    sum_of = Sample("m", question, "7", sample.images, env_name=None, data_source="thinklite_eureka")
    env, trajectory = begun(sum_of)
    ended = finished(env, trajectory, agents.make_agent("oracle"))
    assert ended.reward == pytest.approx(1.2)


@pytest.mark.integration
def test_noise_makes_an_oracle_worse():
    assert NoisyAgent(noise=0).seed == 0
    silent = play("VisualToolbox-v2", NoisyAgent(noise=0), episodes=20)
    oracle = play("VisualToolbox-v2", OracleAgent(), episodes=20)
    assert [boxes(t) for t in silent.trajectories] == [boxes(t) for t in oracle.trajectories]
    runs = [play("VisualToolbox-v2", NoisyAgent(noise=noise), episodes=60).summary for noise in (0.1, 0.4, 1.0)]
    assert all(a.accuracy > b.accuracy and a.iou > b.iou for a, b in pairwise(runs))
    assert runs[2].failed_calls["malformed"] > runs[0].failed_calls.get("malformed", 0)
    with pytest.raises(ValueError, match="noise=2: must be between 0 and 1"):
        NoisyAgent(noise=2)


def boxes(trajectory):
    return [result.box for result in trajectory.results]


@pytest.mark.parametrize("name", agents.AGENTS.names())
def test_what_an_agent_says_depends_on_the_episode_and_its_seed_only(name):
    openings = []
    env = gym.make("VisualToolbox-v2").unwrapped
    for seed in range(12):
        trajectory = env.reset(seed=seed)[1]["trajectory"]
        openings.append(replace(trajectory, metadata={"seed": seed}))
    together = [reply.message for reply in agents.make_agent(name, seed=5).act(openings)]
    agent = agents.make_agent(name, seed=5)
    assert [agent.act([opening])[0].message for opening in reversed(openings)] == together[::-1]
    if name in ("blind", "random"):
        assert [reply.message for reply in agents.make_agent(name, seed=6).act(openings)] != together


@pytest.mark.integration
def test_the_random_agent_tries_everything():
    @tool
    def odd_tool(
        image: Image, many: list[int], mode: Literal["a", "b"], on: bool, text: str, box: float | None = None
    ) -> str:
        """Do something odd."""
        assert mode in ("a", "b")
        return f"{len(many)} {on} {text} {box}"

    register_toolbox("Odd-v0", tools=["image_zoom_in_tool", "image_rotate_tool", odd_tool])
    run = play("Odd-v0", "random", episodes=80)
    assert not run.failures
    assert set(run.summary.stop_reasons) >= {"answer", "format_error"}
    assert set(run.summary.failed_calls) >= {"malformed", "bad_arguments", "unknown_tool"}
    used = [result for trajectory in run.trajectories for result in trajectory.results if result.ok]
    assert {result.call.name for result in used} == {"image_zoom_in_tool", "image_rotate_tool", "odd_tool"}
    assert run.summary.accuracy < 0.5


def test_random_arguments_fit_their_schema(sample):
    _, trajectory = begun(sample)
    random = Random(0)
    schemas = ({"type": "integer"}, {"type": "number"}, {"type": "boolean"}, {"type": "string"}, {"enum": ["x"]}, {})
    for schema, kind in zip(schemas, (int, float, bool, str, str, type(None)), strict=True):
        assert isinstance(random_argument(schema, trajectory, random), kind)
    assert json.dumps(random_argument({"type": "array", "items": {"type": "integer"}}, trajectory, random))


def test_the_right_answer_is_a_letter_of_the_options_as_shown(sample):
    _, trajectory = begun(replace(sample, options=("blue", "red")))
    assert trajectory.sample.options["AB".index(right_answer(trajectory))] == sample.answer == "red"
    assert right_answer(begun(replace(sample, options=(), answer="7.5"))[1]) == "7.5"


@pytest.mark.parametrize("frame", FRAMES)
def test_a_box_as_an_answer_is_written_in_the_frame_of_the_episode(frame):
    box = (1000, 900, 1400, 1300)
    image = np.zeros((1800, 2400, 3), np.uint8)
    asked = Sample("b", "Where?", box_text(box), image, boxes=[box], data_source="refcoco")
    _, trajectory = begun(asked, frame=frame)
    assert BoxJudge.of(trajectory).iou(right_answer(trajectory), asked) > 0.99


def test_boxes_that_are_options_or_texts_are_answered_as_such():
    box, image = (10.0, 9.0, 40.0, 30.0), np.zeros((1800, 2400, 3), np.uint8)
    options = (box_text(box), "[1, 2, 3, 4]")
    _, trajectory = begun(Sample("c", "Which?", options[0], image, options=options, boxes=[box]))
    assert trajectory.sample.options["AB".index(right_answer(trajectory))] == options[0]
    _, trajectory = begun(Sample("o", "Where?", "[10, 9, 40, 30]", image, boxes=[box]))
    assert right_answer(trajectory) == "[10, 9, 40, 30]"


@pytest.mark.parametrize("right", ["no", "Yes."])
def test_who_does_not_look_guesses_yes_or_no(right):
    asked = Sample("p", "Is there a dog?", right, np.zeros((60, 60, 3), np.uint8))
    assert guess(replace(asked, answer="a dog"), Random(0)) == "unknown"
    assert {guess(asked, Random(seed)) for seed in range(9)} == {"yes", "no"}


def test_an_unknown_agent_is_an_error_with_the_nearest_names():
    with pytest.raises(UnknownNameError, match=r"unknown agent 'orcale'; did you mean 'oracle'\? known: "):
        agents.make_agent("orcale")
    with pytest.raises(ValueError, match="max_turns=0"):
        agents.make_agent("blind", max_turns=0)


def test_agents_implement_the_protocol():
    for name in agents.AGENTS.names():
        assert isinstance(agents.make_agent(name), agents.Agent)


NAMING = ("VisualToolboxQwen3VL-v0", "VisualToolboxMiniO3-v0", "VisualToolboxNamed-v0")
SMALL = {
    "objects": (2, 2),
    "clutter": 0,
    "size": (224, 224),
    "view": ViewBudget(84 * 84, 84 * 84),
    "object_side": (20, 24),
}
NESTED = {"size": (1260, 1260), "objects": (1, 1)}


def assert_the_oracle_looks_at_every_place(env, data, episodes):
    run = play(env, "oracle", episodes, dataset=data)
    assert (run.summary.accuracy, run.summary.failed_calls) == (1.0, {})
    for trajectory in run.trajectories:
        assert len(trajectory.results) == len(trajectory.sample.boxes) > 0
        for look, truth in zip(trajectory.looks, trajectory.sample.regions, strict=True):
            assert look.image == truth.image
            assert holds(look.box, truth.box, slack=1)
        if isinstance(data, NestedSearch) and env != "VisualToolboxQwen3VL-v0":
            assert [result.about for result in trajectory.results] == [0, 1]  # a zoom into the zoom


@pytest.mark.parametrize("env", NAMING)
def test_the_oracle_looks_at_every_place_in_the_words_of_the_family(env):
    assert_the_oracle_looks_at_every_place(env, ImageSearch(split="test", compare=0.5, **SMALL), 12)
    assert_the_oracle_looks_at_every_place(env, NestedSearch(split="test", **NESTED), 2)


@pytest.mark.integration
def test_who_does_not_look_at_several_images_is_at_chance():
    assert_at_chance(play(NAMING[0], "blind", 100, dataset=ImageSearch(split="test", images=(2, 3), **SMALL)))


@pytest.mark.slow
@pytest.mark.parametrize("data", ["image_search", "pattern_pairs", "nested_search"])
def test_over_hundreds_of_questions_only_who_looks_is_right(data):
    for env in NAMING:
        assert_the_oracle_looks_at_every_place(env, load(data, split="test"), 100)
    assert_at_chance(play(NAMING[0], "blind", 300, dataset=load(data, split="test")))
