"""What is wrong with a box is told in the units that the policy writes, with the size of the image."""

import gymnasium as gym
import pytest

from deepeyes_env import Sample, ViewBudget
from deepeyes_env.errors import ArgumentError
from deepeyes_env.tools import ZoomTool
from tests.conftest import pattern, zoom_text
from tests.tools.test_arguments import context

EXTENTS = {
    "native": "the image is 1000 x 800 pixels",
    "view": "the image is 500 x 400 pixels",
    "norm1000": "the image is 1000 x 1000 in thousandths of its sides",
    "unit": "the image is 1 x 1 in fractions of its sides",
}
FRACTIONS = [0.1, 0.25, 0.5, 0.75]
MEANT = {
    "native": "you probably mean [100, 200, 500, 600]",
    "view": "you probably mean [50, 100, 250, 300]",
    "norm1000": "you probably mean [100, 250, 500, 750]",
}
TINY = {
    "native": ([10, 10, 20, 18], "10 wide and 8 high, which is too small; it must be at least 31 wide and 31 high"),
    "view": ([10, 10, 15, 14], "5 wide and 4 high, which is too small; it must be at least 16 wide and 16 high"),
    "norm1000": ([10, 10, 20, 20], "10 wide and 10 high, which is too small; it must be at least 31 wide and 39 high"),
    "unit": ([0.1, 0.1, 0.11, 0.11], "0.01 wide and 0.01 high, which is too small; it must be at least 0.031 wide and"),
}


def refused(frame, box, tool=None):
    with pytest.raises(ArgumentError) as caught:
        (tool or ZoomTool()).run({"bbox_2d": box}, context(frame, view_size=(500, 400)))
    return str(caught.value)


@pytest.mark.parametrize("frame", EXTENTS)
def test_the_size_of_the_image_is_told_in_the_units_of_the_box(frame):
    assert EXTENTS[frame] in refused(frame, [0.5, 0.1, 0.2, 0.4])
    box, told = TINY[frame]
    error = refused(frame, box, ZoomTool(min_side=31))
    assert told in error
    assert EXTENTS[frame] in error


@pytest.mark.parametrize("frame", MEANT)
@pytest.mark.parametrize("tool", [ZoomTool(), ZoomTool(min_side=31), ZoomTool(enlarge_to=28)])
def test_fractions_are_recognised_where_the_frame_has_other_units(frame, tool):
    error = refused(frame, FRACTIONS, tool)
    assert "fractions of the sides" in error
    assert MEANT[frame] in error
    assert EXTENTS[frame] in error
    assert "you probably mean [0, 0, " in refused(frame, [0, 0, 1, 1], tool)


def test_fractions_are_what_the_unit_frame_wants():
    assert ZoomTool().run({"bbox_2d": FRACTIONS}, context("unit", view_size=(500, 400))).box == (100, 200, 500, 600)


def test_a_tiny_image_has_boxes_of_one_pixel():
    env = gym.make("VisualToolbox-v5", dataset=[Sample("s", "What?", "a", pattern(2, 2))], frame="native")
    env.reset(seed=0)
    assert env.step(zoom_text([0, 0, 1, 1]))[4]["calls"][0].ok


@pytest.mark.parametrize("env_id", ["VisualToolbox-v2", "VisualToolbox-v5"])
def test_a_box_of_fractions_shows_nothing_and_earns_nothing(env_id):
    sample = Sample("s", "What?", "red", pattern(1000, 800), data_source="vstar")
    env = gym.make(env_id, dataset=[sample], view=ViewBudget(max_pixels=112 * 112))
    env.reset(seed=0)
    observation, *_, info = env.step(zoom_text(FRACTIONS))
    assert observation["images"] == ()
    assert info["calls"][0].status == "bad_arguments"
    assert "the image is 112 x 84 pixels" in observation["text"]
    *_, info = env.step("<answer>red</answer>")
    assert info["reward_terms"]["tool"].raw == 0
