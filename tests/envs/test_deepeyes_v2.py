"""DeepEyesV2-v0: a policy that writes programs, with the real sandbox."""

import contextlib
import pickle
import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from deepeyes_env import Sample, UsageError, agents, get_toolbox, register_toolbox, tool
from deepeyes_env.envs.toolbox import TOOLBOXES
from deepeyes_env.errors import ToolSetupError
from deepeyes_env.images import Image
from deepeyes_env.sandbox import IsolationError, Kernel, Limits, Sandbox, get_sandbox
from deepeyes_env.tools import PythonTool
from tests.conftest import pattern
from tests.sandbox.conftest import local_sandbox


@pytest.fixture(scope="module")
def sandbox():
    """The one that the tool takes by default; its warm parent lives as long as the process."""
    return local_sandbox(get_sandbox())


def squares(count):
    """A grey image with so many red squares."""
    pixels = np.full((300, 400, 3), 90, np.uint8)
    for number in range(count):
        pixels[20 + 50 * (number // 5) :, 20 + 70 * (number % 5) :][:20, :20] = (220, 20, 20)
    return pixels


def question(count=7, **fields):
    return Sample(f"q{count}", "How many red squares are there?", str(count), (squares(count),), **fields)


def code(program, thought="Measure it."):
    return f"<think>{thought}</think>\n<code>\n```python\n{program}\n```\n</code>"


@pytest.fixture
def env(sandbox):
    with contextlib.closing(gym.make("DeepEyesV2-v0", dataset=[question()]).unwrapped) as made:
        yield made


COUNT = """\
import numpy as np
from scipy import ndimage
mask = np.asarray(image_1)[..., 0] > 200
print(ndimage.label(mask)[1])"""


class Counter:
    """Writes a program, and answers what it prints."""

    def act(self, episodes):
        return [self.next(episode) for episode in episodes]

    def next(self, episode):
        if not episode.turns:
            return code(COUNT)
        printed = episode.turns[-1].observation.text.split("```")[1].strip()
        return f"<think>It printed it.</think>\n<answer>{printed}</answer>"


@pytest.mark.parametrize("name", ["DeepEyesV2-v0", "deepeyes_v2"])
def test_an_agent_that_writes_code_is_right(sandbox, name):
    toolbox = {"DeepEyesV2-v0": "DeepEyesV2-v0", "deepeyes_v2": "VisualToolbox-v2"}[name]
    rows = [question(count, env_name="" if name == toolbox else name) for count in (3, 7, 11)]
    played = agents.rollout(toolbox, Counter(), dataset=rows, episodes=3, progress=False)
    assert [episode.toolbox for episode in played.trajectories] == ["DeepEyesV2-v0"] * 3
    assert [episode.reward for episode in played.trajectories] == [1.0] * 3
    assert sandbox.pids() == set()


def test_rows_name_it_as_the_original_does():
    assert get_toolbox("deepeyes_v2") is get_toolbox("DeepEyesV2-v0")
    assert gym.spec("DeepEyesV2-v0").kwargs["max_turns"] == 9


def test_gymnasium_finds_nothing_to_warn_of(sandbox):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make("DeepEyesV2-v0").unwrapped
        check_env(env)
        env.close()


def test_a_session_opens_with_the_first_program_and_ends_with_the_episode(env, sandbox):
    env.reset(seed=0)
    assert sandbox.pids() == set()
    observation, *_ = env.step(code("x = image_1.size\nx"))
    plain = "Code execution result:\nstdout:\n```\nOut[0]: (400, 300)\n\n```\n\nstderr:\n```\n\n```"
    assert observation["text"] == plain
    assert len(sandbox.pids()) == 1
    env.reset(seed=0)
    assert sandbox.pids() == set()
    assert "NameError" in env.step(code("x"))[0]["text"]
    *_, terminated, _, info = env.step("<think>So.</think><answer>7</answer>")
    assert terminated
    assert info["stop_reason"] == "answer"
    assert sandbox.pids() == set()
    env.reset(seed=0)
    env.step(code("1"))
    env.close()
    assert sandbox.pids() == set()


def test_shown_images_are_numbered_on_and_at_most_ten_come_back(env):
    env.reset(seed=0)
    show = "from PIL import Image\nfor n in range(12):\n    image_1.crop((0, 0, 40 + n, 40)).show()\nprint('<image>')"
    observation, *_, info = env.step(code(show))
    assert len(observation["images"]) == observation["text"].count("<image>") == 10
    assert "Images:\n<image><image>" in observation["text"]
    assert "< image >" in observation["text"]
    assert "Note: " in observation["text"]
    assert "Out[0]: (41, 40)" in env.step(code("image_3.size"))[0]["text"]
    assert info["calls"][0].status == "ok"


def test_what_other_tools_show_is_there_for_programs_too(sandbox):
    @tool
    def flipped(image: Image) -> Image:
        """Mirror the image."""
        return image[:, ::-1]

    with TOOLBOXES.restored():
        tools = [flipped, PythonTool]
        register_toolbox("Flipped-v0", tools=tools, protocol="deepeyes_v2", addressing="deepeyes_v2")
        row = Sample("s", "What?", "red", (pattern(120, 90), pattern(60, 50)))
        with contextlib.closing(gym.make("Flipped-v0", dataset=[row], view=None)) as env:
            opened, _ = env.reset(seed=0)
            assert "image_1: <image>\nimage_2: <image>" in opened["text"]
            env.step(code("image_2.show()"))
            env.step('<tool_call>\n{"name": "flipped", "arguments": {"image": "image_1"}}\n</tool_call>')
            same = "np.array_equal(np.asarray(image_4), np.asarray(image_1)[:, ::-1])"
            program = f"import numpy as np\n{same}, image_3.size"
            assert "Out[0]: (True, (60, 50))" in env.step(code(program))[0]["text"]


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("<think>Hm.</think><code>print(1)</code>", "Error: the code does not stand between ```python and ```"),
        ("<tool_call>\n{'a'}\n</tool_call>", "Error: Invalid tool call format: {'a'}. Error: Expecting property name"),
        ('<tool_call>{"name": "zoom"}</tool_call>', 'Error: Invalid tool call name: {"name": "zoom", "arguments": {}}'),
        ("<answer></answer>", "Error: the answer is empty"),
    ],
)
def test_a_message_that_cannot_be_read_is_told_why(env, message, told):
    env.reset(seed=0)
    observation, _, terminated, truncated, info = env.step(message)
    assert observation["text"].startswith(told)
    assert (terminated, truncated) == (False, False)
    assert info["calls"][0].status in ("malformed", "unknown_tool")


def test_a_row_s_own_prompt_goes_on_in_the_original_s_frame(sandbox):
    messages = ({"role": "system", "content": "Use code."}, {"role": "user", "content": "<image>\nHow many?"})
    with contextlib.closing(gym.make("DeepEyesV2-v0", dataset=[question(messages=messages)]).unwrapped) as env:
        opened, info = env.reset(seed=0)
        assert (info["system_prompt"], opened["text"]) == ("Use code.", "<image>\nHow many?")
        env.step(code("print(7)"))
        reply = env.trajectory.turns[0].observation
        assert reply.prefill == "<think>"
        assert reply.text == "Code execution result:\nstdout:\n```\n7\n\n```\n\nstderr:\n```\n\n```"
        env.step("Seven.</think><answer>7</answer>")
        assert env.trajectory.reward == 1.0


def test_branches_replay_the_programs_and_say_what_differs(env, caplog):
    env.reset(seed=0)
    env.step(code("x = 41\nprint(x)"))
    env.step(code("import time\nprint(time.time_ns())"))
    state = pickle.loads(pickle.dumps(env.snapshot()))
    env.step(code("x = 0"))
    env.restore(state)
    assert env.trajectory.metadata["replay_differs"] == [2]
    assert "replayed turns came to something else: [2]" in caplog.text
    assert "Out[0]: 42" in env.step(code("x + 1"))[0]["text"]
    env.reset(seed=0)
    env.step(code("object()"))
    env.restore(env.snapshot())
    assert "replay_differs" not in env.trajectory.metadata


class Nowhere(Sandbox):
    """A sandbox that this machine cannot have."""

    def open(self, limits: Limits) -> Kernel:
        raise IsolationError("no user namespaces; run: sysctl kernel.unprivileged_userns_clone=1")


class NotInstalled(Nowhere):
    def check_installed(self) -> None:
        raise IsolationError("bubblewrap is not installed; run: apt-get install bubblewrap")


def test_a_sandbox_that_cannot_be_had_is_told_to_the_user():
    """With the first program; where something is not installed, as soon as an episode begins."""
    with TOOLBOXES.restored():
        register_toolbox("Nowhere-v0", tools=[PythonTool(Nowhere())], protocol="deepeyes_v2")
        register_toolbox("NotInstalled-v0", tools=[PythonTool(NotInstalled())], protocol="deepeyes_v2")
        env = gym.make("Nowhere-v0")
        env.reset(seed=0)
        with pytest.raises(UsageError, match="tool 'python': .*run: sysctl"):
            env.step(code("1"))
        env = gym.make("NotInstalled-v0")
        with pytest.raises(ToolSetupError, match="tool 'python': .*run: apt-get install bubblewrap"):
            env.reset(seed=0)
