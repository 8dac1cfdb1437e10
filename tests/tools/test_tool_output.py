"""What a tool returns is checked at once: nothing is shown or recorded that cannot be read again."""

import json

import gymnasium as gym
import numpy as np
import pytest

from deepeyes_env import BBox, Image, ImageRef, Sample, Tool, ToolCall, ToolError, ToolOutput, register_toolbox, tool
from deepeyes_env.trajectories import TrajectoryWriter, read_trajectories
from tests.conftest import pattern

HUGE = "x" * 10**8


class Recipe:
    key, size = "a recipe", (40, 30)

    def render(self):
        return pattern(40, 30)


class Lies(Tool):
    name = "lies"

    def __call__(self, kind: str) -> str:
        """Lie."""

    def run(self, arguments, context):
        return 5


BAD = {
    "nothing": lambda: None,
    "a number": lambda: 3,
    "a list of nothing": lambda: [None],
    "box of three": lambda: ToolOutput(box=(1, 2, 3)),
    "box of text": lambda: ToolOutput(box="1234"),
    "box of texts": lambda: ToolOutput(box=("a", "b", "c", "d")),
    "box with nothing": lambda: ToolOutput(box=(1, 2, 3, None)),
    "box of infinity": lambda: ToolOutput(box=(1, 2, 3, float("inf"))),
    "box of nan": lambda: ToolOutput(box=(float("nan"), 2, 3, 4)),
    "empty box": lambda: ToolOutput(box=(1, 2, 1, 4)),
    "number": lambda: ToolOutput(box=7),
    "text of a number": lambda: ToolOutput(text=5),
    "no text": lambda: ToolOutput(text=None),
    "images of text": lambda: ToolOutput(images=("a",)),
    "one image": lambda: ToolOutput(images=ImageRef(pattern(9, 9))),
    "no image": lambda: ToolOutput(images=(ImageRef(b"no image"),)),
    "floats": lambda: ToolOutput(images=(ImageRef(np.zeros((9, 9, 3))),)),
    "five channels": lambda: ToolOutput(images=(ImageRef(np.zeros((9, 9, 5), np.uint8)),)),
    "too long": lambda: np.zeros((1, 70_000, 3), np.uint8),
    "raises text": lambda: (_ for _ in ()).throw(ToolError(HUGE)),
    "raises": lambda: (_ for _ in ()).throw(ValueError(HUGE)),
}


@tool
def gives(kind: str) -> str:
    """Give something."""
    return {**BAD, **GOOD}[kind]()


GOOD = {
    "an array that can be written": lambda: ToolOutput(images=(ImageRef(pattern(50, 40).copy()),)),
    "grey": lambda: ToolOutput(images=(ImageRef(np.zeros((9, 9), np.uint8)),)),
    "a recipe": lambda: ToolOutput(images=(ImageRef(Recipe()),)),
    "numpy's numbers": lambda: ToolOutput(box=np.array([1, 2, 3, 4])),
    "empty text": lambda: "",
    "huge text": lambda: HUGE,
    "marks": lambda: "<image>" * 10**6 + "\ud800",
}
register_toolbox("GivesForTest-v0", tools=[gives, Lies])


def played(kind, tmp_path, name="gives"):
    env = gym.make("GivesForTest-v0", dataset=[Sample("s", "What?", "a", pattern(120, 100))], view=None, max_turns=1)
    env.reset(seed=0)
    observation, *_, info = env.step(ToolCall(name, {"kind": kind}))
    assert observation in env.observation_space
    assert observation["text"].count("<image>") == len(observation["images"])
    with TrajectoryWriter(tmp_path) as writer:
        writer.write(info["trajectory"])
    (read,) = read_trajectories(tmp_path)
    assert [result.status for result in read.results] == [info["calls"][0].status]
    return info["calls"][0]


@pytest.mark.parametrize("kind", BAD)
def test_a_wrong_result_is_a_failed_call_at_once(kind, tmp_path):
    result = played(kind, tmp_path)
    assert (result.status, result.images, result.box) == ("failed", (), None)
    assert 0 < len(result.error) < 1200


def test_a_tool_that_overrides_run_is_checked_too(tmp_path):
    result = played("", tmp_path, "lies")
    assert (result.status, "returned int" in result.error) == ("failed", True)


@pytest.mark.parametrize("kind", GOOD)
def test_a_right_result_is_shown_and_can_be_read_again(kind, tmp_path):
    result = played(kind, tmp_path)
    assert result.ok
    assert all(isinstance(image.source, np.ndarray) and not image.source.flags.writeable for image in result.images)
    json.dumps(result.box)


def test_long_text_is_cut_and_says_so(tmp_path):
    text = played("huge text", tmp_path).text
    assert len(text) < 2**23
    assert text.endswith(f"(cut: {len(HUGE)} characters)")


def test_the_box_that_the_policy_wrote_is_kept_where_the_tool_names_none():
    @tool
    def look(image: Image, bbox_2d: BBox) -> Image:
        """Look."""
        return image

    register_toolbox("LookForTest-v0", tools=[look])
    env = gym.make("LookForTest-v0", dataset=[Sample("s", "What?", "a", pattern(120, 100))], view=None)
    env.reset(seed=0)
    assert env.step(ToolCall("look", {"bbox_2d": [1, 2, 30, 40]}))[4]["calls"][0].box == (1, 2, 30, 40)
