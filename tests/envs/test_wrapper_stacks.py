"""PlainInfo, DiscreteAction and QuestionNumbers, alone and together."""

import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordEpisodeStatistics

from deepeyes_env import Rubric, Sample, Term, ToolCall
from deepeyes_env.data.visual_search import VisualSearch
from deepeyes_env.envs.wrappers import (
    DiscreteAction,
    FixedSizeObservation,
    PlainInfo,
    QuestionNumbers,
    StructuredAction,
    grid_places,
    hash_words,
)
from tests.conftest import pattern

LOOK = ToolCall("image_zoom_in_tool", {"bbox_2d": [10, 10, 400, 400]})
WRONG = ToolCall("image_zoom_in_tool", {"bbox_2d": [9, 9, 1, 1]})


def make(samples, variant="v2", **kwargs):
    return gym.make(f"VisualToolbox-{variant}", dataset=samples if isinstance(samples, list) else [samples], **kwargs)


def stack(env, size=32):
    """Everything that a small discrete policy needs."""
    return DiscreteAction(StructuredAction(QuestionNumbers(FixedSizeObservation(PlainInfo(env), size))), grid=2)


# --- the info --------------------------------------------------------------------------------------------------------


def test_info_has_the_same_plain_keys_at_every_step(sample):
    env = PlainInfo(make(sample))
    infos = [env.reset(seed=0)[1], *(env.step(action)[-1] for action in (LOOK, WRONG, "<answer>red</answer>"))]
    assert len({tuple(info) for info in infos}) == 1
    assert {type(value) for info in infos for value in info.values()} == {int, float, str}
    assert json.loads(json.dumps(infos)) == infos
    start, looked, wrong, end = infos
    assert (start["turn"], start["calls"], start["correct"], start["stop_reason"]) == (0, 0, -1.0, "")
    assert (looked["turn"], looked["calls"], looked["calls_failed"], looked["error"]) == (1, 1, 0, "")
    assert (wrong["turn"], wrong["calls_failed"]) == (2, 1)
    assert "x1 must be less than x2" in wrong["error"]
    assert (end["correct"], end["answer"], end["stop_reason"], end["sample_id"]) == (1.0, "red", "answer", "s1")
    assert (end["reward_acc"], end["reward_format"], end["reward_tool"]) == (0.8, 0.0, 1.2)


def test_info_names_the_terms_of_any_rubric(sample):
    rubric = Rubric([Term("short", lambda e: 1.0, 0.5)])
    assert PlainInfo(make(sample, rubric=rubric)).reset(seed=0)[1]["reward_short"] == 0.0
    assert not [key for key in PlainInfo(make(sample, rubric=None)).reset(seed=0)[1] if key.startswith("reward_")]
    named = PlainInfo(make(sample, rubric=rubric), terms=["acc"])
    named.reset(seed=0)
    assert named.step("<answer>red</answer>")[-1]["reward_acc"] == 0.0


def test_numbers_alone_become_tensors(sample):
    pytest.importorskip("torch")
    from gymnasium.wrappers import NumpyToTorch

    numbers = PlainInfo(FixedSizeObservation(make(sample), 32), text=False)
    env = NumpyToTorch(DiscreteAction(StructuredAction(numbers)))
    observation, info = env.reset(seed=0)
    assert observation.shape == (32, 32, 3)
    assert info["turn"].item() == 0
    *_, info = env.step(np.int64(0))
    assert info["turn"].item() == 1
    assert info["action_mask"].tolist() == [1] * 13


def test_vectors_of_plain_info_are_arrays(sample):
    envs = gym.vector.SyncVectorEnv([lambda: PlainInfo(make(sample))] * 2)
    envs.reset(seed=0)
    *_, infos = envs.step(["<answer>red</answer>", "?"])
    assert infos["correct"].tolist() == [1.0, 0.0]
    assert infos["correct"].dtype == np.float64


# --- the discrete action ---------------------------------------------------------------------------------------------


def test_a_grid_covers_the_image_row_by_row():
    assert grid_places(2, 1) == ((0.25, 0.5, 0.5, 1.0), (0.75, 0.5, 0.5, 1.0))
    assert len(grid_places(3, 4)) == 12
    with pytest.raises(ValueError, match="grid"):
        grid_places(0, 1)


def test_places_come_first_then_answers(sample):
    env = DiscreteAction(StructuredAction(make(sample)), grid=(2, 2))
    assert env.action_space == gym.spaces.Discrete(8)
    boxes = []
    for place in range(4):
        env.reset(seed=0)
        boxes.append(env.step(np.int64(place))[-1]["calls"][0].box)
    assert boxes == [(0, 0, 500, 400), (500, 0, 1000, 400), (0, 400, 500, 800), (500, 400, 1000, 800)]
    rewards = []
    for answer in range(4, 8):
        _, info = env.reset(seed=0)
        rewards.append(env.step(answer)[1])
    right = info["trajectory"].sample.options.index("red")
    assert [reward > 0 for reward in rewards] == [answer == right for answer in range(4)]


def test_places_of_ones_own(sample):
    env = DiscreteAction(StructuredAction(make(sample)), places=[(0.2, 0.225, 0.2, 0.2)])
    assert env.action_space.n == 5
    env.reset(seed=0)
    assert env.step(0)[-1]["calls"][0].box == (100, 100, 300, 260)
    with pytest.raises(ValueError, match="place"):
        DiscreteAction(StructuredAction(make(sample)), places=[(0.2, 0.2, 0.2, 1.1)])


def test_masks_follow_the_question_and_its_toolbox():
    two = Sample("two", "?", "a", pattern(400, 300), options=("a", "b"))
    many = Sample("many", "?", "a", pattern(400, 300), options=tuple("abcdef"))
    open_question = Sample("open", "?", "a", pattern(400, 300))
    plain = Sample("plain", "?", "a", pattern(400, 300), options=("a", "b", "c"), env_name=None)
    env = DiscreteAction(StructuredAction(make([two, many, open_question, plain])), grid=(1, 2))
    expected = [[1, 1, 1, 1, 0, 0], [1] * 6, [1] * 6, [0, 0, 1, 1, 1, 0]]
    for index, mask in enumerate(expected):
        _, info = env.reset(options={"index": index})
        assert info["action_mask"].tolist() == mask
        assert info["action_mask"].dtype == np.int8
        assert env.action_masks().tolist() == list(map(bool, mask))
        assert env.action_space.sample(mask=info["action_mask"]) in np.flatnonzero(mask)
    *_, info = env.step(0)
    assert info["calls"][0].status == "unknown_tool"
    assert info["action_mask"].tolist() == expected[-1]


def test_what_has_no_zoom_has_answers_only(sample):
    env = DiscreteAction(StructuredAction(make(sample), max_options=3))
    env.reset(seed=0)
    assert env.action_masks().sum() == 9 + 3
    with pytest.raises(ValueError, match="must be 0 to 11"):
        env.step(12)
    with pytest.raises(TypeError, match="StructuredAction"):
        DiscreteAction(make(sample))


# --- the question ----------------------------------------------------------------------------------------------------


def test_the_question_is_numbers_with_lettered_options():
    sample = Sample("s", "Which colour?", "red", pattern(64, 64), options=("red", "blue"), metadata={"fixed": True})
    env = QuestionNumbers(FixedSizeObservation(make(sample), 16), length=8, vocabulary=100)
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space
    first, second = info["trajectory"].sample.options
    expected = hash_words(f"which COLOUR a {first} b {second}", 100)
    assert observation["question"].tolist() == [*expected, 0, 0]
    later = env.step(ToolCall("image_rotate_tool", {"angle": 90}))[0]
    assert np.array_equal(later["question"], observation["question"])
    assert not np.array_equal(later["image"], observation["image"])


def test_the_same_words_have_the_same_numbers_in_every_process():
    assert hash_words("Which pattern is on the red circle?", 512) == [177, 17, 331, 332, 438, 247, 117]


def test_questions_are_cut_and_encoded_by_a_tokenizer_of_ones_own(sample):
    env = QuestionNumbers(FixedSizeObservation(make(sample), 16), 4, 200, encode=lambda text: list(text.encode()))
    assert env.reset(seed=0)[0]["question"].tolist() == list(b"What")
    env = QuestionNumbers(FixedSizeObservation(make(sample), 16), 4, 50, encode=lambda text: list(text.encode()))
    with pytest.raises(ValueError, match="1 to 49"):
        env.reset(seed=0)


@pytest.mark.parametrize("settings", [{"length": 0}, {"vocabulary": 1}])
def test_questions_need_room(sample, settings):
    with pytest.raises(ValueError, match="QuestionNumbers"):
        QuestionNumbers(FixedSizeObservation(make(sample), 16), **settings)


def test_wrappers_wrap_what_they_can(sample):
    with pytest.raises(TypeError, match="PlainInfo"):
        PlainInfo(gym.make("CartPole-v1"))
    with pytest.raises(TypeError, match="QuestionNumbers"):
        QuestionNumbers(gym.make("CartPole-v1"))
    with pytest.raises(TypeError, match="FixedSizeObservation"):
        QuestionNumbers(make(sample))


# --- together --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", [f"v{n}" for n in range(1, 6)])
def test_the_whole_stack_is_an_environment_like_any_other(variant):
    env = stack(gym.make(f"VisualToolbox-{variant}", dataset=VisualSearch(length=8)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version")
        check_env(env, skip_render_check=True)


def test_gymnasium_makes_the_stack_again_from_its_spec_and_in_vectors():
    env = stack(gym.make("VisualToolbox-v2", dataset=VisualSearch(length=8)))
    again = gym.make(env.spec)
    assert str(again) == str(env)
    assert again.action_space == env.action_space
    ours, theirs = env.reset(seed=3)[0], again.reset(seed=3)[0]
    assert all(np.array_equal(ours[key], theirs[key]) for key in ours)
    make_one = lambda: RecordEpisodeStatistics(stack(gym.make("VisualToolbox-v2", dataset=VisualSearch(length=8))))  # noqa: E731
    envs = gym.vector.SyncVectorEnv([make_one] * 2)
    observations, infos = envs.reset(seed=0)
    assert observations["question"].shape == (2, 32)
    assert infos["action_mask"].shape == (2, 8)
    *_, infos = envs.step(np.array([4, 0]))
    assert infos["episode"]["l"].tolist() == [1, 0]
