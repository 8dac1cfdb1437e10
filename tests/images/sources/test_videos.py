"""Frames of videos: the exact one, by time and by number, and zooms into it."""

from fractions import Fraction

import numpy as np
import pytest

from deepeyes_env import Sample, ToolCall, ViewBudget, VisualToolboxEnv
from deepeyes_env.addressing import get_addressing
from deepeyes_env.envs.toolbox import TOOLBOXES, Toolbox
from deepeyes_env.errors import ImageError
from deepeyes_env.images import ImageRef
from deepeyes_env.images.sources.videos import Frame
from deepeyes_env.shown import shown_images
from deepeyes_env.tools import get_tool
from deepeyes_env.trajectories import TrajectoryWriter, read_trajectories
from tests.video_files import number_of, write_video

RATE = Fraction(30000, 1001)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    write_video(folder / "clip.mp4", 120, RATE, key_every=50)
    write_video(folder / "uneven.mkv", 60, Fraction(25), key_every=20, gaps=True)
    return folder


def test_every_frame_is_found_by_time_and_by_number(folder):
    clip = Frame(folder / "clip.mp4")
    assert clip.size == (160, 120)
    assert clip.duration == pytest.approx(float(120 / RATE), abs=0.05)
    for index in (0, 119, 1, 49, 50, 51, 99, 100, 60, 60, 59):
        assert number_of(clip.at(float(index / RATE)).render()) == index
        assert number_of(clip.at(float((index + Fraction(9, 10)) / RATE)).render()) == index
        assert number_of(clip.numbered(index).render()) == index


def test_of_uneven_frames_the_one_that_is_seen_is_shown(folder):
    begins = [(index + index // 3) / 25 for index in range(60)]
    for seconds in np.arange(0, begins[-1], 0.0371):
        seen = max(
            index for index, begin in enumerate(begins) if begin <= round(seconds, 3) + 1e-9
        )  # its clock has milliseconds
        assert number_of(Frame(folder / "uneven.mkv", float(seconds)).render()) == seen


def test_a_name_says_the_time(folder):
    assert number_of(ImageRef.of(f"{folder}/clip.mp4#t=2").pixels()) == 59
    assert number_of(ImageRef.of(f"{folder}/clip.mp4").pixels()) == 0
    for wrong in ("t=-1", "t=x", "t=1,2", "frame=3"):
        with pytest.raises(ImageError, match="is not t=SECONDS"):
            ImageRef.of(f"{folder}/clip.mp4#{wrong}")


def test_a_selected_frame_is_zoomed_into_and_recorded(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPEYES_IMAGE_ROOT", str(folder))
    sample = Sample(id="a", question="When?", answer="now", images=[f"{folder}/clip.mp4"])
    tools = tuple(map(get_tool, ("image_zoom_in_tool", "select_frame")))
    with TOOLBOXES.restored():
        TOOLBOXES.register("Video-v0", Toolbox("Video-v0", tools, addressing=get_addressing("deepeyes_v2")))
        env = VisualToolboxEnv("Video-v0", [sample], view=ViewBudget(max_pixels=84 * 56), rubric=None)
        env.reset(seed=0)
        calls = [
            ToolCall("select_frame", {"image": "image_1", "time": 2.0}),
            ToolCall("select_frame", {"image": "image_1", "index": 100}),
            ToolCall("image_zoom_in_tool", {"image": "image_2", "bbox_2d": [0, 0, 42, 28]}),
        ]
        results = [env.step(call)[-1]["calls"][0] for call in calls]
    assert [result.error for result in results] == ["", "", ""]
    frames = shown_images(env.trajectory)
    assert [each.region.moment for each in frames] == [None, 2.0, pytest.approx(float(100.5 / RATE)), 2.0]
    zoom = Frame(folder / "clip.mp4", 2.0)
    x1, y1, x2, y2 = map(int, frames[3].region.box)
    assert (x1, y1) == (0, 0)
    assert (x2, y2) > (42, 28)  # native pixels, not those of the view
    assert np.array_equal(number_of(zoom.render()), 59)
    with TrajectoryWriter(tmp_path / "run") as writer:
        writer.write(env.trajectory)
    assert list(read_trajectories(tmp_path / "run")) == [env.trajectory]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "either time"),
        ({"time": 1, "index": 1}, "either time"),
        ({"time": 99}, "is 4.0.* s long"),
        ({"time": -1}, "must not be less"),
        ({"index": 10**9}, "s long"),
    ],
)
def test_moments_that_are_not_there_are_told(folder, arguments, said):
    with TOOLBOXES.restored():
        TOOLBOXES.register("Video-v0", Toolbox("Video-v0", (get_tool("select_frame"),)))
        sample = Sample(id="a", question="When?", answer="now", images=[f"{folder}/clip.mp4"])
        env = VisualToolboxEnv("Video-v0", [sample], rubric=None)
        env.reset(seed=0)
        (result,) = env.step(ToolCall("select_frame", arguments))[-1]["calls"]
    assert result.status == "bad_arguments"
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(result.error)


def test_files_that_are_no_video_are_refused_and_playlists_open_nothing(folder):
    whole = (folder / "clip.mp4").read_bytes()
    hostile = {
        "noise.mp4": np.random.default_rng(0).bytes(5000),
        "cut.mp4": whole[: len(whole) // 2],
        "list.mp4": f"#EXTM3U\n#EXTINF:1,\nfile://{folder}/clip.mp4\n#EXT-X-ENDLIST\n".encode(),
        "list.mkv": f"ffconcat version 1.0\nfile {folder}/clip.mp4\n".encode(),
    }
    for name, data in hostile.items():
        (folder / name).write_bytes(data)
        with pytest.raises(ImageError, match=rf"{name}: cannot be read"):
            _ = ImageRef.of(folder / name).size
