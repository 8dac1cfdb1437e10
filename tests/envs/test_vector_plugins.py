"""Plugins in Ray actors: what a file registers outside any import path is known there too."""

import os
import sys
from dataclasses import replace

import pytest

from deepeyes_env import Rubric, Term, ToolCall, register_toolbox
from deepeyes_env.envs.toolbox import TOOLBOXES
from deepeyes_env.envs.vector import RayVectorEnv, make_vector_env, register_backend
from deepeyes_env.envs.vector.thread import ThreadVectorEnv
from deepeyes_env.errors import UnknownNameError, UsageError, UsageTypeError
from deepeyes_env.registry import load_plugins
from deepeyes_env.rewards import register_rubric
from tests.envs.vector_helpers import VIEW, samples

ACTOR = {"num_actors": 1, "actor_options": {"num_cpus": 0}}
CALL = '<tool_call>{"name": "test_plugged", "arguments": {}}</tool_call>'

PLUGIN = """
import threading

from deepeyes_env import Rubric, Term, register_rubric, register_toolbox, tool

LOCK = threading.Lock()  # which no other process could be sent


def make():
    held = threading.Lock()

    @tool
    def test_plugged() -> str:
        \"\"\"Say hello.\"\"\"
        with held, LOCK:
            return "hello from the plugin"

    return test_plugged


def seven(evidence):
    return 7.0


register_rubric("test_plugged", Rubric([Term("seven", seven)]))
register_toolbox("TestPlugged-v0", tools=[make()], rubric="test_plugged")


class Note:
    text = "an object of the plugin's own class"
"""


@pytest.fixture(scope="module")
def plugin(tmp_path_factory):
    """A plugin in a folder that neither this process nor an actor finds modules in."""
    path = tmp_path_factory.mktemp("elsewhere") / "test_plugin_of_actors.py"
    path.write_text(PLUGIN, encoding="utf-8")
    load_plugins([str(path)])
    return path


@pytest.mark.ray
@pytest.mark.usefixtures("plugin", "shared_ray")
def test_what_a_plugin_registers_is_known_in_actors():
    from test_plugin_of_actors import Note

    rows = samples()
    rows[0] = replace(rows[0], metadata={"note": Note()})
    envs = RayVectorEnv("TestPlugged-v0", 2, dataset=rows, view=VIEW, **ACTOR)
    try:
        assert os.getpid() not in envs.actor_pids()
        envs.reset(options={"index": 0})
        observations, *_ = envs.step([CALL, CALL])
        assert all("hello from the plugin" in text for text in observations["text"])
        _, rewards, *_ = envs.step(["<answer>x</answer>"] * 2)
        assert rewards.tolist() == [7.0, 7.0]
    finally:
        envs.close()


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_what_a_script_registers_is_sent_to_actors():
    register_rubric("test_scripted_five", Rubric([Term("five", lambda evidence: 5.0)]))
    register_toolbox("TestScripted-v0", tools=["image_zoom_in_tool"], rubric="test_scripted_five")
    envs = RayVectorEnv("TestScripted-v0", 1, dataset=samples(), view=VIEW, **ACTOR)
    try:
        envs.reset(seed=0)
        assert envs.step(["<answer>x</answer>"])[1].tolist() == [5.0]
    finally:
        envs.close()


SCRIPT = """
from __future__ import annotations

import threading
from typing import Literal

from deepeyes_env import Image, register_toolbox, tool

SIDES = {"left": 1, "upper": 0}


@tool
def scripted_half(image: Image, side: Literal["left", "upper"]) -> Image:
    \"\"\"Show a half of the image.\"\"\"
    return image[:, : image.shape[1] // 2] if SIDES[side] else image[: image.shape[0] // 2]


LOCK = threading.Lock()


@tool
def scripted_lock() -> str:
    \"\"\"Do it alone.\"\"\"
    with LOCK:
        return "done"
"""


@pytest.fixture
def script():
    """The names of a script that is run as ``__main__``, which actors cannot import."""
    main = vars(sys.modules["__main__"])
    before = set(main)
    exec(compile(SCRIPT, "script.py", "exec"), main)
    with TOOLBOXES.restored():
        yield main
    for name in set(main) - before:
        del main[name]


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_a_tool_of_a_script_is_sent_to_actors(script):
    register_toolbox("TestScriptedHalf-v0", tools=["image_zoom_in_tool", script["scripted_half"]])
    envs = RayVectorEnv("TestScriptedHalf-v0", 1, dataset=samples(), view=VIEW, **ACTOR)
    try:
        envs.reset(seed=0)
        (half,) = envs.step([ToolCall("scripted_half", {"side": "left"})])[0]["images"][0]
        assert half.shape[0] > half.shape[1]
        refused, *_ = envs.step([ToolCall("scripted_half", {"side": "lower"})])
        assert "'left' or 'upper'" in refused["text"][0]
    finally:
        envs.close()
    assert script["scripted_half"].schema["function"]["name"] == "scripted_half"


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_a_tool_of_a_script_that_cannot_be_sent_is_told_with_the_remedy(script):
    register_toolbox("TestScriptedLock-v0", tools=[script["scripted_lock"]])
    with pytest.raises(UsageTypeError, match=r"'TestScriptedLock-v0' cannot be sent .*lock.* load_plugins") as caught:
        RayVectorEnv("TestScriptedLock-v0", 1, dataset=samples(), view=VIEW, **ACTOR)
    assert len(str(caught.value)) < 400


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_a_plugin_that_is_gone_is_told(plugin):
    there = plugin.read_text(encoding="utf-8")
    plugin.unlink()
    try:
        with pytest.raises(UsageError, match="there is no such file"):
            RayVectorEnv("VisualToolbox-v2", 1, dataset=samples(), view=VIEW, **ACTOR)
    finally:
        plugin.write_text(there, encoding="utf-8")


def test_a_backend_of_ones_own():
    @register_backend("test_one_thread")
    def one_thread(num_envs, *, workers, spare_cpus, **kwargs):
        return ThreadVectorEnv(num_envs, num_threads=1, **kwargs)

    envs = make_vector_env("test_one_thread", "VisualToolbox-v2", 2, dataset=samples(), view=VIEW)
    assert (envs.num_envs, len(envs.reset(seed=0)[0]["text"])) == (2, 2)
    envs.close()
    with pytest.raises(UnknownNameError, match=r"unknown backend 'test_one_tread'; did you mean 'test_one_thread'\?"):
        make_vector_env("test_one_tread", "VisualToolbox-v2", 2)
    with pytest.raises(UsageError, match="the backend 'ray' belongs to the package"):
        register_backend("ray", one_thread)
