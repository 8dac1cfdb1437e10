import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepeyes_env import Sample, ToolCall, ViewBudget, register_toolbox, tool
from deepeyes_env.envs.wrappers import FixedSizeObservation, FlatAction, StructuredAction
from deepeyes_env.envs.wrappers.structured_action import answer_letter, valid_box
from deepeyes_env.images.box_sides import MIN_BOX_SIDE
from deepeyes_env.images.frames import FRAMES
from deepeyes_env.images.ops import fit
from deepeyes_env.protocols import V5, NativeProtocol
from tests.conftest import pattern

ZOOM, ROTATE, ANSWER = 0, 1, 2
unit = st.floats(0, 1, width=32)


def make(samples, variant="v2", max_options=4, **kwargs):
    samples = samples if isinstance(samples, list) else [samples]
    env = gym.make(f"VisualToolbox-{variant}", dataset=samples, **kwargs)
    return StructuredAction(env, max_options=max_options)


def box(*values):
    return np.array(values, np.float32)


# --- the observation -------------------------------------------------------------------------------------------------


def test_observation_is_the_view_stretched_to_the_size(sample):
    env = FixedSizeObservation(gym.make("VisualToolbox-v2", dataset=[sample]), (48, 64))
    assert env.observation_space == gym.spaces.Box(0, 255, (48, 64, 3), np.uint8)
    observation, info = env.reset(seed=0)
    assert observation in env.observation_space
    assert np.array_equal(observation, fit(info["trajectory"].prompt.images[0].pixels(), (64, 48)))


@pytest.mark.filterwarnings("ignore:.*share an object")  # native crops share the image's memory, read-only
def test_observation_follows_the_crops_and_stays_when_there_is_none(sample):
    env = FixedSizeObservation(gym.make("VisualToolbox-v2", dataset=[sample], view=None), 40)
    start, _ = env.reset(seed=0)
    crop, *_ = env.step(ToolCall("image_zoom_in_tool", {"bbox_2d": [100, 100, 300, 260]}))
    assert np.array_equal(crop, fit(sample.images[0].pixels()[100:260, 100:300], (40, 40)))
    failed, *_ = env.step(ToolCall("image_zoom_in_tool", {"bbox_2d": [9, 9, 1, 1]}))
    end, _, terminated, *_ = env.step("<answer>red</answer>")
    assert terminated
    assert np.array_equal(failed, crop)
    assert np.array_equal(end, crop)
    assert np.array_equal(env.reset(seed=0)[0], start)


def test_several_images_begin_with_the_first_to_which_boxes_refer():
    images = [pattern(100, 80), np.zeros((80, 100, 3), np.uint8)]
    env = FixedSizeObservation(gym.make("VisualToolbox-v2", dataset=[Sample("s", "?", "a", images)]), 40)
    assert env.reset(seed=0)[0].any()


def test_observations_can_be_written_to(sample):
    env = FixedSizeObservation(gym.make("VisualToolbox-v2", dataset=[sample], view=None), (800, 1000))
    first, _ = env.reset(seed=0)
    kept = first.copy()
    first[:] = 0
    assert np.array_equal(env.reset(seed=0)[0], kept)


@pytest.mark.parametrize("size", [0, (48, -1)])
def test_observation_size_must_be_positive(size):
    with pytest.raises(ValueError, match="at least 1 pixel"):
        FixedSizeObservation(gym.make("VisualToolbox-v2"), size)


# --- the action ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("variant", "kinds"),
    [("v1", "zoom rotate answer"), ("v2", "zoom rotate answer"), ("v3", "zoom answer"), ("v4", "zoom answer")],
)
def test_kinds_follow_from_the_tools(sample, variant, kinds):
    env = make(sample, variant, max_options=6)
    assert env.kinds == tuple(kinds.split())
    spaces = {
        "zoom": gym.spaces.Box(0, 1, (4,), np.float32),
        "rotate": gym.spaces.Discrete(3),
        "answer": gym.spaces.Discrete(6),
    }
    assert env.action_space == gym.spaces.OneOf([spaces[kind] for kind in env.kinds])


@pytest.mark.parametrize("variant", ["v1", "v2", "v3", "v4", "v5"])
@pytest.mark.parametrize("frame", FRAMES)
def test_zoom_in_every_variant_and_frame(sample, variant, frame):
    env = make(sample, variant, frame=frame, view=ViewBudget(max_pixels=300 * 28 * 28))
    env.reset(seed=0)
    *_, info = env.step((ZOOM, box(0.2, 0.225, 0.2, 0.2)))
    assert info["calls"][0].ok
    assert info["calls"][0].box == (100, 100, 300, 260)


@given(
    values=st.tuples(unit, unit, unit, unit),
    size=st.tuples(st.integers(MIN_BOX_SIDE, 9000), st.integers(MIN_BOX_SIDE, 9000)),
)
@settings(max_examples=150)
def test_every_box_is_inside_and_of_a_size_that_tools_accept(values, size):
    x1, y1, x2, y2 = valid_box(values, size)
    width, height = x2 - x1, y2 - y1
    assert 0 <= x1 < x2 <= size[0]
    assert 0 <= y1 < y2 <= size[1]
    assert min(width, height) >= MIN_BOX_SIDE
    assert max(width, height) < 100 * min(width, height)
    assert width >= min(round(values[2] * size[0]), 99 * size[1])
    assert height >= min(round(values[3] * size[1]), 99 * size[0])


@given(values=st.tuples(unit, unit, unit, unit), size=st.tuples(st.integers(1, 31), st.integers(1, 9000)))
@settings(deadline=None)
def test_boxes_in_images_too_small_for_them_are_inside_all_the_same(values, size):
    x1, y1, x2, y2 = valid_box(values, size)
    assert 0 <= x1 < x2 <= size[0]
    assert 0 <= y1 < y2 <= size[1]
    assert max(x2 - x1, y2 - y1) < 100 * min(x2 - x1, y2 - y1)


def test_a_box_is_centred_and_moved_inside():
    assert valid_box((0.5, 0.5, 0.2, 0.5), (1000, 800)) == (400, 200, 600, 600)
    assert valid_box((0, 1, 0.2, 0.5), (1000, 800)) == (0, 400, 200, 800)
    assert valid_box((0.3, 0.7, 1, 1), (1000, 800)) == (0, 0, 1000, 800)
    assert valid_box((0.5, 0.5, 0, 0), (1000, 800)) == (484, 384, 516, 416)


@given(
    values=st.tuples(unit, unit, unit, unit),
    size=st.sampled_from([(32, 32), (33, 3400), (640, 480), (3100, 40)]),
    frame=st.sampled_from(FRAMES),
    variant=st.sampled_from(["v1", "v2", "v5"]),
)
@settings(max_examples=50)
def test_the_tool_cuts_the_very_box(values, size, frame, variant):
    env = make(Sample("s", "?", "a", np.zeros((*size[::-1], 3), np.uint8)), variant, frame=frame)
    env.reset(seed=0)
    *_, info = env.step((ZOOM, box(*values)))
    assert info["calls"][0].error == ""
    assert info["calls"][0].box == valid_box(box(*values).tolist(), size)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_rotate(sample, index):
    env = make(sample)
    env.reset(seed=0)
    *_, info = env.step((ROTATE, np.int64(index)))
    assert info["calls"][0].call == ToolCall("image_rotate_tool", {"angle": 90 * (index + 1)})
    assert info["calls"][0].ok


def test_answer_is_the_option_in_the_order_shown(sample):
    env = make(sample)
    for seed in range(4):
        _, info = env.reset(seed=seed)
        options = info["trajectory"].sample.options
        assert env.reset(seed=seed)[1]["trajectory"].sample.options == options
        for i, option in enumerate(options):
            env.reset(seed=seed)
            _, reward, terminated, _, info = env.step((ANSWER, i))
            assert terminated
            assert (reward > 0) == (option == "red")
            assert info["stop_reason"] == "answer"


def test_an_option_that_the_question_does_not_have_is_a_wrong_answer():
    # The fifth option is E, and E is the text of the right one: naming it by letter must not win.
    env = make(Sample("s", "Which letter?", "E", pattern(64, 64), options=("E", "F", "G")), max_options=8)
    for i in range(3, 8):
        env.reset(seed=0)
        _, reward, terminated, _, info = env.step((ANSWER, i))
        assert terminated
        assert reward == 0
        assert info["reward_terms"]["format"].raw == 0


def test_without_options_the_letter_is_the_answer():
    question = "Which colour? A. red B. blue"
    env = make(Sample("s", question, "B", pattern(64, 64)))
    rewards = []
    for i in range(4):
        env.reset(seed=0)
        rewards.append(env.step((ANSWER, i))[1])
    assert [reward > 0 for reward in rewards] == [False, True, False, False]


def test_option_letters():
    assert [answer_letter((), i) for i in (0, 3)] == ["A", "D"]
    assert [answer_letter(("x", "y"), i) for i in (0, 1, 2)] == ["A", "B", "?"]


def test_a_row_with_its_own_toolbox_is_played_in_its_own_words():
    rows = [Sample(name, "?", "a", pattern(400, 300), env_name=name) for name in ("visual_toolbox_v1", "")]
    env = make(rows)
    for index, parameter in enumerate(["bbox", "bbox_2d"]):
        env.reset(options={"index": index})
        *_, info = env.step((ZOOM, box(0.5, 0.5, 0.5, 0.5)))
        assert list(info["calls"][0].call.arguments) == [parameter]
        assert info["calls"][0].ok


def test_what_a_rows_toolbox_lacks_is_a_mistake_and_no_exception():
    env = make([Sample("s", "?", "B", pattern(400, 300), env_name="VisualToolbox-v3", options=("A", "B"))])
    env.reset(seed=0)
    _, reward, terminated, truncated, info = env.step((ROTATE, 0))
    assert (reward, terminated, truncated) == (0, False, False)
    assert info["calls"][0].status == "unknown_tool"


def test_an_ordinary_question_can_be_answered():
    env = make([Sample("s", "?", "yes", pattern(400, 300), env_name=None, options=("yes", "no"))])
    _, info = env.reset(seed=0)
    right = info["trajectory"].sample.options.index("yes")
    assert env.step((ANSWER, right))[1] > 0


def test_tools_and_protocols_of_a_user():
    @tool
    def magnify(region: "tuple[float, float, float, float]", factor: float = 2.0) -> str:
        """Tell what is in a region."""
        return "nothing"

    register_toolbox("Magnify-v0", tools=[magnify], protocol=NativeProtocol())
    register_toolbox("AnswerOnly-v0", tools=[], protocol=V5)
    data = [Sample("s", "?", "yes", pattern(400, 300), options=("yes", "no"))]
    env = StructuredAction(gym.make("Magnify-v0", dataset=data), max_options=2)
    assert env.kinds == ("zoom", "answer")
    _, info = env.reset(seed=0)
    right = info["trajectory"].sample.options.index("yes")
    assert env.step((1, right))[1] > 0
    env = StructuredAction(gym.make("AnswerOnly-v0", dataset=data))
    assert env.kinds == ("answer",)


@pytest.mark.parametrize(
    "action",
    [
        (3, 0),
        (-1, 0),
        (ROTATE, 3),
        (ROTATE, -1),
        (ANSWER, 4),
        (ANSWER, -1),
        (ZOOM, box(0, 0, 1)),
        (ZOOM, box(0, 0, 1, np.nan)),
        (ZOOM, box(0, 0, 1, np.inf)),
    ],
)
def test_actions_outside_the_space_raise(sample, action):
    env = make(sample)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=r"action|zoom"):
        env.step(action)


def test_structured_action_wraps_only_our_environment():
    with pytest.raises(TypeError, match="VisualToolboxEnv"):
        StructuredAction(gym.make("CartPole-v1"))
    with pytest.raises(ValueError, match="max_options=0"):
        StructuredAction(gym.make("VisualToolbox-v2"), max_options=0)


# --- the flat action -------------------------------------------------------------------------------------------------


def test_flat_action_reads_the_highest_score(sample):
    env = FlatAction(make(sample))
    assert env.action_space == gym.spaces.Box(-1, 1, (3 + 4 + 3 + 4,), np.float32)
    vector = np.zeros(14, np.float32)
    vector[[0, 3, 4, 5, 6]] = [1, -1, 0, 1, 0.5]
    kind, value = env.action(vector)
    assert kind == ZOOM
    assert value.dtype == np.float32
    assert value.tolist() == [0, 0.5, 1, 0.75]
    vector[[1, 8]] = [2, 0.1]
    assert env.action(vector) == (ROTATE, 1)
    vector[[2, 13]] = [3, 0.1]
    assert env.action(vector) == (ANSWER, 3)
    assert env.action(np.zeros(14, np.float32))[0] == ZOOM


@given(st.lists(st.floats(-2, 2, width=32), min_size=14, max_size=14))
@settings(max_examples=50)
def test_every_vector_is_an_action(vector):
    inner = StructuredAction(gym.make("VisualToolbox-v2"))
    assert FlatAction(inner).action(np.array(vector, np.float32)) in inner.action_space


@pytest.mark.parametrize("vector", [np.zeros(13, np.float32), np.full(14, np.nan, np.float32)])
def test_flat_actions_outside_the_space_raise(sample, vector):
    env = FlatAction(make(sample))
    env.reset(seed=0)
    with pytest.raises(ValueError, match="14 numbers"):
        env.step(vector)


def test_flat_action_needs_a_choice_of_plain_spaces():
    with pytest.raises(TypeError, match="OneOf"):
        FlatAction(gym.make("VisualToolbox-v2"))
    nested = StructuredAction(gym.make("VisualToolbox-v2"))
    nested.action_space = gym.spaces.OneOf([gym.spaces.Box(-np.inf, np.inf, (2,)), gym.spaces.Discrete(2)])
    with pytest.raises(TypeError, match="bounded Box"):
        FlatAction(nested)


# --- together --------------------------------------------------------------------------------------------------------


def test_gymnasium_can_make_a_wrapped_environment_again_from_its_spec():
    env = FlatAction(StructuredAction(FixedSizeObservation(gym.make("VisualToolbox-v2"), 48), max_options=5))
    again = gym.make(env.spec)
    assert str(again) == str(env)
    assert again.action_space == env.action_space
    assert np.array_equal(again.reset(seed=3)[0], env.reset(seed=3)[0])


def test_gymnasium_discretises_the_flat_action(sample):
    env = gym.wrappers.DiscretizeAction(FlatAction(make(sample)), bins=11, multidiscrete=True)
    env.reset(seed=0)
    env.action_space.seed(0)
    assert env.step(env.action_space.sample())[0] in env.observation_space


def test_vector_of_wrapped_environments():
    wrappers = [lambda env: FixedSizeObservation(env, 48), StructuredAction, FlatAction]
    envs = gym.make_vec("VisualToolbox-v2", num_envs=3, vectorization_mode="sync", wrappers=wrappers)
    observations, _ = envs.reset(seed=0)
    assert observations.shape == (3, 48, 48, 3)
    envs.action_space.seed(0)
    for _ in range(5):
        observations, rewards, *_ = envs.step(envs.action_space.sample())
        assert observations.shape == (3, 48, 48, 3)
        assert rewards.shape == (3,)
    envs.close()
