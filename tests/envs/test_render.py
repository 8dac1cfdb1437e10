from dataclasses import replace

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import deepeyes_env
from deepeyes_env import Sample, ToolCall, ViewBudget
from deepeyes_env.envs import canvas, register_toolbox, render
from deepeyes_env.envs.toolbox import TOOLBOXES
from deepeyes_env.protocols import V2
from tests.conftest import pattern

SHAPE = (720, 1280, 3)
BESIDE = 740  # left of this column stands the view of a 1000 x 800 image, right of it the tiles
GREY = (90, 90, 90)
SAMPLE = Sample("s", "What is it?", "red", (pattern(1000, 800),), options=("red", "blue"))


def plain(width, height, colour=GREY):
    return np.full((height, width, 3), colour, np.uint8)


def play(image, actions, variant="v2", options=("red", "blue"), **kwargs):
    images = image if isinstance(image, list) else [image]
    sample = Sample("s", "What is it?", "red", images, options=options)
    env = gym.make(f"VisualToolbox-{variant}", dataset=[sample], **kwargs).unwrapped
    env.reset(seed=0)
    for action in actions:
        env.step(action)
    return env.trajectory


def zoom(*box):
    return ToolCall("image_zoom_in_tool", {"bbox_2d": list(box)})


def where(frame, colour):
    """Bounding box (x1, y1, x2, y2) of the pixels of one exact colour; right and bottom exclusive."""
    y, x = np.nonzero((frame == colour).all(axis=-1))
    return (x.min(), y.min(), x.max() + 1, y.max() + 1) if len(x) else None


def test_frame_shape_before_any_call():
    frame = render.rgb_array(play(pattern(1000, 800), []))
    assert frame.shape == SHAPE
    assert frame.dtype == np.uint8


@pytest.mark.parametrize("view", [None, ViewBudget(max_pixels=200 * 28 * 28)])
def test_box_is_drawn_where_the_crop_was_cut(view):
    # The middle of the image is blue, and the policy asks for exactly that, in view pixels.
    image = plain(1120, 840)
    image[210:420, 280:560] = (0, 0, 255)
    trajectory = play(image, [], view=view)
    width, height = trajectory.view_size
    box = (width / 4, height / 4, width / 2, height / 2)
    trajectory = play(image, [zoom(*box)], view=view)
    assert trajectory.results[0].box == (280, 210, 560, 420)
    frame = render.rgb_array(trajectory)
    half = frame[:, :BESIDE]
    x1, y1, x2, y2 = where(half, canvas.COLOURS[0])
    blue = where(half, (0, 0, 255))
    flag = 20  # the number stands above the box
    np.testing.assert_allclose((x1, y1 + flag, x2, y2), (blue[0] - 3, blue[1] - 3, blue[2] + 3, blue[3] + 3), atol=3)


def test_box_covers_the_whole_view_when_the_whole_image_is_zoomed():
    trajectory = play(plain(1000, 800), [zoom(0, 0, 5000, 5000)])
    frame = render.rgb_array(trajectory)[:, :BESIDE]
    width, height = trajectory.view_size
    x1, y1, x2, y2 = where(frame, canvas.COLOURS[0])
    assert (x2 - x1) / (y2 - y1) == pytest.approx(width / height, rel=0.01)


def test_crop_stands_beside_in_the_colour_of_its_box():
    image = plain(1000, 800)
    image[:100, :100] = (0, 0, 255)
    frame = render.rgb_array(play(image, [zoom(0, 0, 100, 100)], view=None))
    beside = frame[:, BESIDE:]
    border, crop = where(beside, canvas.COLOURS[0]), where(beside, (0, 0, 255))
    assert crop[2] - crop[0] == crop[3] - crop[1] > 200  # the crop is square and scaled up
    assert np.subtract(crop[:2], border[:2]).tolist() == [3, 3]


def test_a_rotated_image_is_shown_though_it_has_no_box():
    before = render.rgb_array(play(plain(1000, 800), []))
    frame = render.rgb_array(play(plain(1000, 800), [ToolCall("image_rotate_tool", {"angle": 90})]))
    beside = where(frame[:, BESIDE:], GREY)
    assert where(before[:, BESIDE:], GREY) is None
    assert (beside[3] - beside[1]) / (beside[2] - beside[0]) == pytest.approx(1000 / 800, rel=0.05)


def test_other_images_of_the_prompt_are_shown():
    frame = render.rgb_array(play([plain(1000, 800), plain(640, 640, (0, 200, 0))], []))
    assert where(frame, (0, 200, 0)) is not None


def test_a_box_is_drawn_on_the_image_that_it_was_written_on():
    kwargs = {"addressing": "mini_o3", "protocol": "v5"}
    with TOOLBOXES.restored():
        register_toolbox("VisualToolbox-v99", tools=["image_zoom_in_tool"], **kwargs)
        calls = [("original_image_2", [100, 100, 500, 500]), ("observation_1", [100, 100, 300, 300])]
        actions = [ToolCall("image_zoom_in_tool", {"source": name, "bbox_2d": box}) for name, box in calls]
        images = [plain(1000, 800), plain(640, 640)]
        one, two = (play(images, actions[:count], "v99", view=None) for count in (1, 2))
    gym.registry.pop("VisualToolbox-v99")
    frame = render.rgb_array(one)
    assert where(frame[:, :BESIDE], canvas.colour_of(1)) is None
    second = render.rgb_array(two)
    assert where(second[:, :BESIDE], canvas.colour_of(2)) is None
    deeper = two.results[1]
    assert (deeper.look.image, deeper.look.box, deeper.about) == (1, (200, 200, 400, 400), 2)
    unboxed = replace(deeper, box=None)
    without = replace(two, turns=(two.turns[0], replace(two.turns[1], results=(unboxed,))))
    changed = np.argwhere((render.rgb_array(without) != second).any(axis=-1))
    assert len(changed) > 100
    assert changed[:, 1].min() > BESIDE
    said = render.ansi(two)
    assert "box [200, 200, 400, 400] in native pixels of image 2, observation_2 200 x 200" in said
    assert "they are stored as 1000 x 800, 640 x 640" in said


def test_the_reason_of_a_failed_call_is_written():
    ok = render.rgb_array(play(plain(1000, 800), []))
    failed = render.rgb_array(play(plain(1000, 800), [zoom(5, 5, 1, 1)]))
    assert (failed[:, BESIDE:] != ok[:, BESIDE:]).any()
    assert where(failed, canvas.PANEL) is not None


@pytest.mark.parametrize("size", [(1, 28), (28, 1), (1, 1), (5600, 28), (28, 5600), (3000, 30)])
@pytest.mark.parametrize("view", [None, ViewBudget()])
def test_images_of_any_shape(size, view):
    trajectory = play(pattern(*size), [zoom(0, 0, 10_000, 10_000)], variant="v5", view=view)
    assert render.rgb_array(trajectory).shape == SHAPE
    assert f"stored as {size[0]} x {size[1]}" in render.ansi(trajectory)


def test_frames_of_an_episode_have_one_size_and_the_view_stays_in_place():
    env = gym.make("VisualToolbox-v5", dataset=[Sample("s", "?", "a", plain(900, 700))], max_turns=64, max_images=64)
    env.reset()
    places = []
    for turn in range(32):
        if turn in (0, 1, 6, 31):
            frame = render.rgb_array(env.unwrapped.trajectory)
            assert frame.shape == SHAPE
            places.append(where(frame[:, :600], GREY)[:2])
        env.step(zoom(20 + turn, 20 + turn, 400 + turn, 400 + turn))
    assert len(set(places)) == 1


@pytest.mark.integration
@given(boxes=st.lists(st.tuples(*[st.floats(-100, 1100)] * 4), max_size=5))
@settings(max_examples=25, deadline=None)
def test_any_boxes_can_be_drawn(boxes):
    trajectory = play(pattern(300, 200), [zoom(*box) for box in boxes], variant="v5", max_turns=9)
    assert render.rgb_array(trajectory).shape == SHAPE
    assert render.ansi(trajectory).count("--- turn") == len(boxes)


@pytest.mark.integration
@given(st.text(st.characters(), max_size=300))
@settings(max_examples=25, deadline=None)
def test_anything_a_policy_writes_can_be_shown(text):
    for trajectory in (play(plain(64, 64), [text]), play(plain(64, 64), [f"<answer>{text}</answer>"])):
        assert render.rgb_array(trajectory).shape == SHAPE
        assert all(c.isprintable() or c == "\n" for c in render.ansi(trajectory))


def test_transcript():
    trajectory = play(
        pattern(1000, 800),
        [
            "<think>hm</think>\n" + V2.format_call(zoom(9, 9, 1, 1)),
            zoom(100, 100, 300, 200),
            "<answer>red</answer>",
        ],
        view=None,
        rubric="deepeyes",
    )
    lines = render.ansi(trajectory).splitlines()
    assert "VisualToolbox-v2" in lines[0]
    assert "    What is it?" in lines
    assert {"    (A) red", "    (B) red"} & set(lines)
    assert {"    (A) blue", "    (B) blue"} & set(lines)
    assert [line for line in lines if line.startswith("---")] == [
        "--- turn 1 ---",
        "--- turn 2 ---",
        "--- turn 3 ---",
        "--- terminated: answer ---",
    ]
    assert "    <think>hm</think>" in lines
    failed, worked, answered = (line for line in lines if line.startswith("=>"))
    assert failed.startswith("=> image_zoom_in_tool: bad arguments: bbox_2d [9, 9, 1, 1]: x1 must be less than x2")
    assert worked == "=> image_zoom_in_tool: ok, box [100, 100, 300, 200] in native pixels, image 200 x 100"
    assert answered == "=> answer: red"
    assert "reward 2" in lines
    assert "  tool 1.2 = 1.2 x 1" in lines


def test_transcript_of_a_running_episode_does_not_tell_the_answer():
    assert "right answer" not in render.ansi(play(plain(64, 64), [zoom(1, 1, 50, 50)]))


def test_transcript_of_a_long_message_is_cut():
    text = render.ansi(play(plain(64, 64), ["x" * 10_000_000]))
    assert len(text) < 5000
    assert "(9998000 more characters)" in text


@pytest.mark.parametrize("mode", ["rgb_array", "ansi"])
def test_render_mode_of_the_environment(mode):
    env = gym.make("VisualToolbox-v2", render_mode=mode)
    env.reset(seed=0)
    expected = render.rgb_array if mode == "rgb_array" else render.ansi
    assert np.array_equal(env.render(), expected(env.unwrapped.trajectory))


def test_gymnasiums_wrappers_collect_frames_and_statistics():
    env = gym.make("VisualToolbox-v2", render_mode="rgb_array")
    env = gym.wrappers.RenderCollection(gym.wrappers.RecordEpisodeStatistics(env))
    env.reset(seed=0)
    env.step(zoom(10, 10, 100, 100))
    *_, info = env.step("<answer>none</answer>")
    assert info["episode"]["l"] == 2
    frames = env.render()
    assert [frame.shape for frame in frames] == [SHAPE] * 3
    assert (frames[0] != frames[1]).any()


def test_gymnasiums_video_observation():
    env = gym.wrappers.AddRenderObservation(gym.make("VisualToolbox-v2", render_mode="rgb_array"))
    observation, _ = env.reset(seed=0)
    assert observation in env.observation_space
    assert env.step(zoom(10, 10, 100, 100))[0] in env.observation_space


def test_a_list_of_frames_is_one_for_each_moment_since_the_last():
    single = gym.make("VisualToolbox-v2", dataset=[SAMPLE], render_mode="rgb_array")
    listed = gym.make("VisualToolbox-v2", dataset=[SAMPLE], render_mode="rgb_array_list")
    actions = [zoom(100, 100, 300, 300), "<answer>red</answer>"]
    for env in (single, listed):
        env.reset(seed=0)
    expected = [single.render()]
    for action in actions:
        single.step(action)
        expected.append(single.render())
        listed.step(action)
    frames = listed.render()
    assert len(frames) == 3
    assert all(map(np.array_equal, frames, expected))
    assert listed.render() == []
    listed.reset(seed=0)
    assert len(listed.render()) == 1


def test_lists_of_transcripts():
    env = deepeyes_env.VisualToolboxEnv(dataset=[SAMPLE], render_mode="ansi_list")
    env.reset(seed=0)
    env.step(zoom(100, 100, 300, 300))
    env.step("<answer>red</answer>")
    before, looked, ended = env.render()
    assert "turn 1" not in before
    assert "turn 1" in looked
    assert "terminated" not in looked
    assert ended == render.ansi(env.trajectory)
