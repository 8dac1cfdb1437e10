"""Every preset, every frame, every image: equal regions give equal crops, byte for byte."""

import json
import pickle

import numpy as np
import pytest

from deepeyes_env import Sample, ToolCall, ViewBudget, VisualToolboxEnv
from deepeyes_env.addressing import Addressing, get_addressing
from deepeyes_env.envs.looking import can_look_at, image_argument, look_at, look_on
from deepeyes_env.envs.toolbox import TOOLBOXES, Toolbox
from deepeyes_env.images.frames import FRAMES
from deepeyes_env.images.ops import fit
from deepeyes_env.images.regions import Region
from deepeyes_env.shown import shown_images
from deepeyes_env.tools import get_tool
from tests.conftest import pattern

FIRST, SECOND = pattern(1120, 560), pattern(560, 1120)[::-1].copy()
VIEW = ViewBudget(max_pixels=560 * 280)  # halves both, so that whole pixels stay whole in every frame
ORIGINS = Addressing("origins", "episode", "image_index", 1, box_on="source")
ADDRESSINGS = ("deepeyes", "qwen3_vl", "mini_o3", "deepeyes_v2", ORIGINS)
OUTER, INNER, TURNED = (280, 140, 840, 420), (140, 70, 420, 210), (0, 70, 140, 140)


def question(**changes):
    boxes = {"boxes": [OUTER, (0, 0, 280, 140)], "box_images": (0, 1)}
    return Sample(**{"id": "two", "question": "Which?", "answer": "A", "images": [FIRST, SECOND], **boxes, **changes})


@pytest.fixture(autouse=True)
def _toolboxes():
    with TOOLBOXES.restored():
        yield


def make(addressing, sample=None, **kwargs):
    tools = tuple(map(get_tool, ("image_zoom_in_tool", "image_rotate_tool")))
    TOOLBOXES.register("Looking-v0", Toolbox("Looking-v0", tools, addressing=get_addressing(addressing)))
    env = VisualToolboxEnv("Looking-v0", [sample or question()], **{"view": VIEW, "rubric": None, **kwargs})
    env.reset(seed=0)
    return env


def play(env, call):
    """The result of a call, which ran, and the image that came back."""
    observation, *_, info = env.step(call)
    (result,) = info["calls"]
    assert result.ok, result.error
    return result, observation["images"][0]


def shown(pixels):
    height, width = pixels.shape[:2]
    return fit(pixels, VIEW.fit((width, height)))


@pytest.mark.parametrize("frame", FRAMES)
@pytest.mark.parametrize("addressing", ADDRESSINGS, ids=str)
def test_equal_crops_in_all_conventions(addressing, frame):
    env = make(addressing, frame=frame)
    result, image = play(env, look_at(env.trajectory, Region(0, OUTER), digits=17))
    assert (result.look, result.regions) == (Region(0, OUTER), (Region(0, OUTER),))
    assert np.array_equal(image, shown(FIRST[140:420, 280:840]))
    if can_look_at(env.trajectory, 1):
        result, image = play(env, look_at(env.trajectory, Region(1, (0, 280, 280, 840)), digits=17))
        assert (result.look, result.about) == (Region(1, (0, 280, 280, 840)), 1)
        assert np.array_equal(image, shown(SECOND[280:840, :280]))
    if env.toolbox.addressing.scope != "episode":
        return
    crop = shown_images(env.trajectory)[2]
    result, image = play(env, look_on(env.trajectory, crop, INNER, digits=17))
    assert result.look == Region(0, (420, 210, 700, 350))
    assert np.array_equal(image, shown(FIRST[210:350, 420:700]))
    inner = shown_images(env.trajectory)[4]
    assert inner.parent == (0 if addressing is ORIGINS else 2)  # where the box was written
    turn = ToolCall("image_rotate_tool", {"angle": 90, **image_argument(env.trajectory, 4)})
    result, image = play(env, turn)
    assert result.regions == (Region(0, (420, 210, 700, 350), 1),)
    assert np.array_equal(image, np.rot90(shown(FIRST[210:350, 420:700]), -1))
    turned = shown_images(env.trajectory)[5]
    result, image = play(env, look_on(env.trajectory, turned, TURNED, digits=17))
    assert result.look == Region(0, (490, 210, 560, 350))
    quarters = 0 if addressing is ORIGINS else 1
    assert np.array_equal(image, shown(np.rot90(FIRST[210:350, 490:560], -quarters)))


def test_crops_are_native_however_deep():
    env = make("deepeyes_v2", view=ViewBudget(max_pixels=112 * 112), frame="native", max_turns=9)
    region, box = Region(0, (0, 0, 1120, 560)), (100, 50, 900, 500)
    for depth in range(6):
        target = shown_images(env.trajectory)[2 + depth - 1] if depth else shown_images(env.trajectory)[0]
        result, image = play(env, look_on(env.trajectory, target, box))
        region = region.part(box)
        assert result.look == region
        assert np.array_equal(image, fit(region.cut(FIRST), image.shape[1::-1]))
        width, height = region.size
        box = (width // 8, height // 8, width * 7 // 8, height * 7 // 8)


def test_a_box_on_an_image_turned_by_an_odd_angle_is_refused_with_what_to_do():
    env = make("mini_o3", frame="native")
    play(env, look_at(env.trajectory, Region(1, (0, 0, 280, 280))))
    play(env, ToolCall("image_rotate_tool", {"angle": 30, "source": "observation_1"}))
    assert shown_images(env.trajectory)[3].region == Region(1, (0, 0, 280, 280), tilted=True)
    _, *_, info = env.step(ToolCall("image_zoom_in_tool", {"bbox_2d": [9, 9, 50, 50], "source": "observation_2"}))
    (result,) = info["calls"]
    assert result.status == "bad_arguments"
    assert "write the box on observation_1" in result.error
    assert "turn observation_1 by 90, 180 or 270" in result.error


@pytest.mark.parametrize("argument", ["img_idx", "image_index", "source", "image"])
def test_where_tools_see_the_first_image_only_a_call_that_names_one_is_told(argument):
    env = make("deepeyes")
    assert "The tools see the first image only." in env.trajectory.prompt.text
    _, *_, info = env.step(ToolCall("image_zoom_in_tool", {"bbox_2d": [0, 0, 280, 140], argument: 1}))
    (result,) = info["calls"]
    assert (result.status, argument in result.error, "first image only" in result.error) == (
        "bad_arguments",
        True,
        True,
    )


def test_with_one_image_the_original_is_as_it_was():
    env = make("deepeyes", Sample("one", "What?", "A", FIRST))
    assert "first image only" not in env.trajectory.prompt.text
    assert play(env, ToolCall("image_zoom_in_tool", {"bbox_2d": [0, 0, 280, 140], "img_idx": 1}))


def test_the_prompt_names_images_as_the_calls_do():
    assert make("mini_o3").trajectory.prompt.text.startswith(
        "original_image_1: <image>\noriginal_image_2: <image>\nWhich?"
    )
    assert make("qwen3_vl").trajectory.prompt.text.startswith("Image 0: <image>\nImage 1: <image>\nWhich?")
    assert make("qwen3_vl", Sample("one", "What?", "A", FIRST)).trajectory.prompt.text.startswith("<image>\nWhat?")
    env = make("deepeyes_v2", question(question="Is <image> like <image>?"))
    assert "Is image_1: <image> like image_2: <image>?" in env.trajectory.prompt.text
    observation, *_ = env.step(look_at(env.trajectory, Region(0, OUTER)))
    assert "image_3: <image>" in observation["text"]


def test_ground_truth_on_the_second_image_is_met_there_only():
    env = make("qwen3_vl", question(boxes=[(0, 0, 280, 140)], box_images=[1]), max_turns=9)
    env.step(look_at(env.trajectory, Region(0, (0, 0, 280, 140))))
    assert env.trajectory.best_iou == 0.0
    env.step(look_at(env.trajectory, Region(1, (0, 0, 280, 140))))
    assert env.trajectory.best_iou == 1.0


def test_snapshots_branch_with_all_images_known():
    env = make("mini_o3", frame="unit")
    env.step(_message(env, look_at(env.trajectory, Region(1, (0, 280, 280, 840)))))
    state = env.snapshot()
    deeper = _message(env, look_on(env.trajectory, shown_images(env.trajectory)[2], (70, 70, 210, 350)))
    expected = env.step(deeper)
    for copy in (state, pickle.loads(pickle.dumps(state))):
        env.restore(copy)
        again = env.step(deeper)
        assert again[-1]["calls"] == expected[-1]["calls"]
        assert np.array_equal(again[0]["images"][0], expected[0]["images"][0])


def _message(env, call):
    return env.toolbox.protocol.format_message("Look.", call)


def test_the_schema_demands_the_image():
    env = make("qwen3_vl")
    _, info = env.reset(seed=0)
    for schema in info["tools"]:
        parameters = schema["function"]["parameters"]
        assert parameters["properties"]["img_idx"]["type"] == "integer"
        assert "img_idx" in parameters["required"]
    assert json.dumps(env.toolbox.schemas) == json.dumps(info["tools"])
