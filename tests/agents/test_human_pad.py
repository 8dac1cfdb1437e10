"""Which images a person can draw on in ``deepeyes play``, and what is then written."""

from dataclasses import replace

import pytest

from deepeyes_env import Sample, VisualToolboxEnv, register_toolbox, tool
from deepeyes_env.agents.human.message import message_of
from deepeyes_env.agents.human.pad import marks_on, pad_of
from deepeyes_env.agents.human.state import PageState, page_json
from deepeyes_env.images import Image
from deepeyes_env.images.frames import BBox
from deepeyes_env.shown import shown_images
from tests.agents.human_game import question
from tests.conftest import pattern


def test_only_parts_of_the_first_image_can_be_drawn_on():
    @tool
    def mirrored_crop(image: Image, box: BBox) -> Image:
        """Cut a box out and mirror it."""
        x1, y1, x2, y2 = map(int, box)
        return image[y1:y2, x1:x2][:, ::-1]

    toolbox = register_toolbox("MirrorForHumans-v0", tools=["image_zoom_in_tool", "image_rotate_tool", mirrored_crop])
    env = VisualToolboxEnv(toolbox, [question()])
    env.reset(seed=0)
    for name, arguments in (
        ("image_zoom_in_tool", {"bbox_2d": [100, 100, 300, 250]}),
        ("image_rotate_tool", {"angle": 90}),
        ("mirrored_crop", {"box": [100, 100, 300, 250]}),
    ):
        env.step(message_of(env.trajectory, {"thought": "", "call": {"name": name, "arguments": arguments}}))
    pads = [pad_of(env.trajectory, shown) for shown in shown_images(env.trajectory)]
    assert pads[0].region == (0, 0, *env.trajectory.view_size)
    assert pads[1].region == pytest.approx((100, 100, 300, 250), abs=1)
    assert pads[2:] == [None, None]
    turned = shown_images(env.trajectory)[2]
    assert turned.region.quarters == 1
    assert [mark["call"] for mark in marks_on(env.trajectory, turned, truths=False)] == [1, 3]


@pytest.mark.parametrize("frame", ["view", "unit"])
def test_a_second_image_and_a_turned_crop_can_be_drawn_on_where_tools_may_be_asked_about_them(frame):
    images, truth = [pattern(1040, 520), pattern(520, 1040)], {"boxes": [(13, 26, 130, 260)], "box_images": [1]}
    sample = Sample("two", "Which?", "red", images, ("red", "blue"), **truth)
    env = VisualToolboxEnv("VisualToolboxMiniO3-v0", [sample], frame=frame, view=None)
    env.reset(seed=0)
    drawn = [0.25, 0.125, 0.75, 0.5]
    for number, result in ((1, (130, 130, 390, 520)), (2, (195, 178.75, 325, 325)), (3, None), (4, None)):
        shown = shown_images(env.trajectory)[number]
        if number == 3:
            call = {"name": "image_rotate_tool", "arguments": {"angle": 90, "source": "observation_2"}}
        else:
            pad = pad_of(env.trajectory, shown)
            box = [value * pad.region[2 + i % 2] for i, value in enumerate(drawn)]
            call = {"name": "image_zoom_in_tool", "arguments": {"bbox_2d": box, **pad.address}}
        env.step(message_of(env.trajectory, {"thought": "", "call": call}))
        look = env.trajectory.results[-1].look
        if result is not None:
            assert (look.image, look.box) == (1, pytest.approx(result, abs=1))
    assert look.image == 1
    ended = replace(env.trajectory, metadata={"episode": 0})
    state = page_json(PageState("ended", ended, shown_images(ended)), max_turns=6)
    kinds = [{mark["kind"] for mark in image["marks"]} for image in state["episode"]["images"]]
    assert kinds[:2] == [set(), {"used", "truth"}]
