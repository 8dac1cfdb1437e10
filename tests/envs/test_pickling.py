"""Environments travel: pickled, copied, and made in other processes, with toolboxes of the user's own."""

import copy
import multiprocessing
import pickle
import subprocess
import sys
import threading
from typing import Literal

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import data_equivalence

from deepeyes_env import Image, Sample, Tool, ToolCall, register_toolbox, tool
from deepeyes_env.envs.toolbox import TOOLBOXES, ToolboxId
from deepeyes_env.envs.wrappers import FixedSizeObservation, FlatAction, StructuredAction
from deepeyes_env.rewards.presets import RUBRICS

VARIANTS = [
    *(f"VisualToolbox-v{n}" for n in range(1, 6)),
    *(f"VisualToolbox{name}-v0" for name in ("Native", "Qwen3VL", "MiniO3", "Named")),
]
STACKS = {
    "bare": lambda env: env,
    "structured": StructuredAction,
    "numbers": lambda env: FixedSizeObservation(FlatAction(StructuredAction(env)), 48),
}
LOOK = ToolCall("image_zoom_in_tool", {"bbox_2d": [10, 10, 120, 120]})


@tool
def flip_image(image: Image, axis: Literal["horizontal", "vertical"] = "vertical") -> Image:
    """Mirror the image along an axis."""
    return image[:, ::-1] if axis == "horizontal" else image[::-1]


def _negative(image: Image) -> Image:
    """Show the negative of the image."""
    return 255 - image


negative = tool(_negative)


class CountTool(Tool):
    """Counts its calls."""

    name = "count_calls"

    def open(self, sample: Sample) -> None:
        self.calls = 0

    def __call__(self) -> str:
        """Say how often this was called in this episode."""
        self.calls += 1
        return str(self.calls)


SAMPLES = [Sample(str(n), "Which?", "a", np.full((60, 80, 3), n, np.uint8), ("a", "b")) for n in range(3)]


@pytest.fixture
def own_toolbox():
    """The id of a toolbox of the user's own, forgotten afterwards."""
    id = "TravellingToolbox-v0"
    with TOOLBOXES.restored(), RUBRICS.restored():
        register_toolbox(id, tools=["image_zoom_in_tool", flip_image, negative, CountTool], dataset=SAMPLES)
        yield id
    gym.registry.pop(id)


def same(one, other):
    """Whether two steps or resets are equal; tools' times are no part of what is compared."""
    return data_equivalence(one[0], other[0]) and one[1:-1] == other[1:-1] and one[-1].keys() == other[-1].keys()


@pytest.mark.parametrize("wrap", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("when", ["new", "begun", "played", "ended"])
def test_environments_pickle_at_any_time_and_go_on_as_they_would_have(variant, wrap, when):
    env = wrap(gym.make(variant, max_turns=3))
    if when != "new":
        env.reset(seed=1)
    if when in ("played", "ended"):
        env.unwrapped.step(LOOK)
    if when == "ended":
        env.unwrapped.step("nothing")
    other = pickle.loads(pickle.dumps(env))
    if when in ("new", "ended"):
        assert same(env.reset(seed=5 if when == "new" else None), other.reset(seed=5 if when == "new" else None))
    action = env.action_space.sample()
    assert same(env.step(action), other.step(action))
    assert other.spec == env.spec


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_toolbox_of_ones_own_pickles_in_the_middle_of_an_episode(own_toolbox, copier):
    env = gym.make(own_toolbox)
    env.reset(seed=1)
    calls = [ToolCall("flip_image", {}), ToolCall("negative", {}), ToolCall("count_calls", {})]
    for call in calls[1:]:
        env.step(call)
    other = copier(env)
    for call in (*calls, calls[-1]):
        assert same(env.step(call), other.step(call))
    assert env.unwrapped.trajectory.turns[-1].results[0].text == "3"
    assert other.unwrapped.trajectory.turns[-1].results[0].text == "3"


def test_a_tool_keeps_its_name_and_its_schema():
    for each in (flip_image, negative):
        other = pickle.loads(pickle.dumps(each))
        assert (other.name, other.schema, other.function) == (each.name, each.schema, each.function)


def test_a_function_that_no_module_has_travels_by_value():
    @tool
    def made_here(image: Image, text: str = "x") -> str:
        """Repeat a text."""
        return text * 2

    other = pickle.loads(cloudpickle.dumps(made_here))
    assert other.schema == made_here.schema
    assert other(image=None, text="ab") == "abab"


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_another_process_knows_the_toolbox(own_toolbox, method):
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"this system has no {method}")
    envs = gym.vector.AsyncVectorEnv([gym.spec(own_toolbox).make], context=method, shared_memory=False)
    try:
        envs.reset(seed=1)
        texts = [envs.step((ToolCall(name, {}),))[0]["text"][0] for name in ("flip_image", "count_calls")]
    finally:
        envs.close()
    env = gym.make(own_toolbox)
    env.reset(seed=1)
    assert texts == [env.step(ToolCall(name, {}))[0]["text"] for name in ("flip_image", "count_calls")]


def test_an_id_takes_everything_along_that_samples_may_name(own_toolbox, caplog):
    mine = TOOLBOXES.get(own_toolbox)
    with TOOLBOXES.restored(), RUBRICS.restored():
        TOOLBOXES.register("Beside-v0", mine)
        RUBRICS.register("travelling", RUBRICS.get("deepeyes"))
        register_toolbox("Locked-v0", tools=[tool(function_with_a_lock())])
        pickled = pickle.dumps(ToolboxId("VisualToolbox-v2"))
    gym.registry.pop("Locked-v0")
    assert pickle.loads(pickled) == "VisualToolbox-v2"
    assert "Beside-v0" in TOOLBOXES
    assert "travelling" in RUBRICS
    assert "Locked-v0" not in TOOLBOXES
    assert "'Locked-v0' cannot be sent to other processes" in caplog.text


def function_with_a_lock():
    lock = threading.Lock()

    def locked() -> str:
        """Do it alone."""
        with lock:
            return "done"

    return locked


NOTEBOOK = '''
from __future__ import annotations
import cloudpickle, sys
from typing import Literal
from deepeyes_env import Image, Tool, register_toolbox, tool

@tool
def flip_image(image: Image, axis: Literal["x", "y"]) -> Image:
    """Mirror the image."""
    return image[::-1]

class Sized(Tool):
    """Measures."""
    name = "sized"
    def __call__(self, image: Image, side: Literal["width", "height"]) -> str:
        """Say how long a side of the image is."""
        return str(image.shape[side == "width"])

register_toolbox("Notebook-v0", tools=[flip_image, Sized])
import gymnasium as gym
sys.stdout.buffer.write(cloudpickle.dumps(gym.spec("Notebook-v0").make))
'''


@pytest.mark.integration
def test_what_a_notebook_defines_travels_with_its_hints():
    pickled = subprocess.run([sys.executable, "-c", NOTEBOOK], check=True, capture_output=True).stdout
    with TOOLBOXES.restored(), RUBRICS.restored():
        env = pickle.loads(pickled)(dataset=SAMPLES)
        env.reset(seed=0)
        assert env.step(ToolCall("sized", {"side": "width"}))[4]["calls"][0].text == "80"
        assert env.step(ToolCall("flip_image", {"axis": "y"}))[4]["calls"][0].ok
