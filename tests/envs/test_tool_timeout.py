"""A tool that never returns, or that tries to end the process, loses its episode and nothing else."""

import logging
import pickle
import subprocess
import sys
import threading
import time
from pathlib import Path

import gymnasium as gym
import pytest

from deepeyes_env import Rubric, Sample, Term, Tool, ToolCall, VisualToolboxEnv, register_toolbox, tool
from deepeyes_env.envs import Toolbox
from deepeyes_env.envs.daemon_threads import DaemonThreads
from deepeyes_env.envs.tool_runner import ToolRunner, hung_tools
from deepeyes_env.envs.vector import RayVectorEnv, Reset, Step, ThreadVectorEnv
from deepeyes_env.errors import ToolExitError, ToolTimeoutError, UsageError
from deepeyes_env.tools import RotateTool, ZoomTool
from tests.conftest import pattern, zoom_text

LIMIT = 0.2
SAMPLE = Sample("s", "What?", "a", pattern(120, 100))
ENDS = {"exit": SystemExit("3"), "interrupt": KeyboardInterrupt(), "generator": GeneratorExit()}


class Kernel(Tool):
    """Hangs, ends the process or counts, whichever it is told."""

    name = "kernel"
    opened, closed = 0, 0

    def open(self, sample):
        type(self).opened += 1
        self.thread = threading.current_thread()
        self.calls = 0

    def __call__(self, what: str) -> str:
        """Do something."""
        self.calls += 1
        if what == "hang":
            GATE.wait()
        if what in ENDS:
            raise ENDS[what]
        return f"call {self.calls}, {'same' if threading.current_thread() is self.thread else 'other'} thread"

    def close(self):
        type(self).closed += 1


GATE = threading.Event()
register_toolbox("KernelForTest-v0", tools=["image_zoom_in_tool", Kernel])


@pytest.fixture(autouse=True)
def gate():
    """Lets everything that hangs go when the test ends."""
    GATE.clear()
    yield
    GATE.set()
    until = time.monotonic() + 10
    while hung_tools() and time.monotonic() < until:
        time.sleep(0.01)


def make(**kwargs):
    return gym.make("KernelForTest-v0", dataset=[SAMPLE], **{"tool_timeout": LIMIT} | kwargs)


def told(what):
    return ToolCall("kernel", {"what": what})


def test_a_tool_that_hangs_loses_its_episode_only(caplog):
    env = make()
    env.reset(seed=0)
    opened, closed = Kernel.opened, Kernel.closed
    assert env.step(told("count"))[4]["calls"][0].text == "call 1, same thread"
    observation, _, terminated, truncated, info = env.step(told("hang"))
    assert (terminated, truncated, info["stop_reason"]) == (False, True, "tool_timeout")
    assert info["calls"][0].status == "failed"
    assert "kernel did not return within 0.2 seconds" in observation["text"]
    assert "its thread is left behind (such threads in this process: 1)" in caplog.text
    assert hung_tools() == 1
    assert Kernel.closed == closed  # its own thread will close it
    env.reset()
    assert env.step(told("count"))[4]["calls"][0].text == "call 1, same thread"
    assert Kernel.opened == opened + 1
    GATE.set()
    env.close()
    until = time.monotonic() + 10
    while Kernel.closed < closed + 2 and time.monotonic() < until:
        time.sleep(0.01)
    assert Kernel.closed == closed + 2


def test_calls_after_one_that_hangs_are_not_run():
    register_toolbox("KernelsForTest-v0", tools=["image_zoom_in_tool", Kernel], protocol="v5")
    env = gym.make("KernelsForTest-v0", dataset=[SAMPLE], tool_timeout=LIMIT)
    env.reset(seed=0)
    call = '<tool_call>{"name": "kernel", "arguments": {"what": "hang"}}</tool_call>'
    *_, info = env.step(zoom_text([0, 0, 50, 50]) + call + zoom_text([0, 0, 50, 50]))
    assert [result.status for result in info["calls"]] == ["ok", "failed"]
    assert (info["skipped_calls"], info["stop_reason"]) == (1, "tool_timeout")


@pytest.mark.parametrize("timeout", [LIMIT * 50, None])
@pytest.mark.parametrize("what", ENDS)
def test_a_tool_that_tries_to_end_the_process_ends_its_episode(what, timeout):
    if (what, timeout) == ("interrupt", None):
        pytest.skip("in the calling thread it is the user's own")
    env = make(tool_timeout=timeout)
    env.reset(seed=0)
    *_, truncated, info = env.step(told(what))
    assert (truncated, info["stop_reason"], info["calls"][0].status) == (True, "error", "failed")
    assert type(ENDS[what]).__name__ in info["calls"][0].error
    env.reset()
    assert env.step(told("count"))[4]["calls"][0].ok
    assert hung_tools() == 0


def test_opening_and_closing_have_the_limit_too(caplog):
    class HangsIn(Kernel):
        name = "hangs_in"
        where = ""

        def open(self, sample):
            if self.where == "open":
                GATE.wait()

        def close(self):
            if self.where == "close":
                GATE.wait()

    env = VisualToolboxEnv(Toolbox("", (HangsIn,)), [SAMPLE], tool_timeout=LIMIT)
    HangsIn.where = "open"
    with pytest.raises(ToolTimeoutError, match="hangs_in did not return"):
        env.reset(seed=0)
    HangsIn.where = "close"
    env.reset(seed=0)
    assert env.step("<answer>a</answer>")[4]["stop_reason"] == "answer"
    assert "hangs_in could not be closed" in caplog.text
    env.close()


def test_our_own_tools_run_in_place_and_what_is_derived_from_them_does_not():
    class Mine(ZoomTool):
        pass

    assert ZoomTool().runs_in_place
    assert RotateTool().runs_in_place
    assert not Mine().runs_in_place
    assert not Mine().returns_crops
    before = threading.active_count()
    env = gym.make("VisualToolbox-v2", dataset=[SAMPLE], tool_timeout=1e-9)
    env.reset(seed=0)
    assert env.step(zoom_text([0, 0, 50, 50]))[4]["calls"][0].ok
    assert threading.active_count() == before


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), 1e30])
def test_a_limit_is_a_number_of_seconds(timeout):
    with pytest.raises(UsageError, match="tool_timeout="):
        make(tool_timeout=timeout)


def test_a_timeout_of_the_tools_own_is_an_ordinary_failure():
    @tool
    def asks() -> str:
        """Ask."""
        raise TimeoutError("the server is slow")

    with pytest.raises(TimeoutError, match="the server is slow"):
        ToolRunner().run(asks, asks)
    assert hung_tools() == 0
    with pytest.raises(ToolExitError):
        ToolRunner(None).run(asks, sys.exit)


def test_threads_end_with_their_owner():
    threads = DaemonThreads(2, "owned")
    assert [threads.submit(abs, -n).result() for n in range(3)] == [0, 1, 2]
    assert sum(thread.name.startswith("owned") for thread in threading.enumerate()) == 2
    del threads
    until = time.monotonic() + 10
    while any(thread.name.startswith("owned") for thread in threading.enumerate()) and time.monotonic() < until:
        time.sleep(0.01)
    assert not any(thread.name.startswith("owned") for thread in threading.enumerate())
    assert pickle.loads(pickle.dumps(ToolRunner(7.0))).timeout == 7.0


def test_the_others_go_on_in_threads():
    envs = ThreadVectorEnv(3, toolbox=Toolbox("", (ZoomTool(), Kernel)), dataset=[SAMPLE], tool_timeout=LIMIT)
    envs.reset(seed=0)
    _, _, terminated, truncated, infos = envs.step([told("hang"), told("exit"), told("count")])
    assert truncated.tolist() == [True, True, False]
    assert not terminated.any()
    assert infos["stop_reason"].tolist() == ["tool_timeout", "error", None]
    envs.step(["", "", told("count")])
    *_, infos = envs.step([told("count")] * 3)
    assert [calls[0].text for calls in infos["calls"]] == [f"call {n}, same thread" for n in (1, 1, 3)]
    envs.close()


def test_what_is_no_exception_ends_one_environment_only():
    class Ends:
        id = "ends"

        def __call__(self, evidence):
            raise SystemExit(3)

    envs = ThreadVectorEnv(2, num_threads=2, dataset=[SAMPLE], rubric=Rubric([Term("ends", Ends())]))
    envs.reset(seed=0)
    _, _, _, truncated, infos = envs.step(["<answer>a</answer>", zoom_text([0, 0, 50, 50])])
    assert truncated.tolist() == [True, False]
    assert "SystemExit: 3" in infos["error"][0]
    envs.close()


@pytest.mark.integration
def test_closing_does_not_wait(caplog):
    caplog.set_level(logging.CRITICAL)
    envs = ThreadVectorEnv(2, toolbox=Toolbox("", (Kernel,)), dataset=[SAMPLE], tool_timeout=10_000)
    envs.send({0: Reset(0), 1: Reset(1)})
    envs.recv()
    envs.send({0: Step(told("hang")), 1: Step(told("count"))})
    assert sorted(envs.recv(timeout=1)) == [1]
    envs.close()  # or this would take hours
    assert hung_tools() <= 1


ENDS_WITH_A_HUNG_TOOL = """
import threading, time
from deepeyes_env import Sample, ToolCall, tool
from deepeyes_env.envs import Toolbox
from deepeyes_env.envs.vector import Reset, Step, ThreadVectorEnv
from tests.conftest import pattern

@tool
def hangs() -> str:
    "Never return."
    threading.Event().wait()

envs = ThreadVectorEnv(2, toolbox=Toolbox("", (hangs,)), dataset=[Sample("s", "q", "a", pattern(90, 80))], **KWARGS)
envs.send({0: Reset(0), 1: Reset(1)})
envs.recv()
envs.send({0: Step(ToolCall("hangs", {})), 1: Step(ToolCall("hangs", {}))})
print(sorted(envs.recv(timeout=0.5)))
"""


@pytest.mark.integration
@pytest.mark.parametrize("kwargs", [{"tool_timeout": 10_000}, {"tool_timeout": 0.1}], ids=["waiting", "given up"])
@pytest.mark.timeout(120)
def test_the_end_of_the_interpreter_does_not_wait(kwargs):
    script = ENDS_WITH_A_HUNG_TOOL.replace("KWARGS", repr(kwargs))
    root = Path(__file__).parents[2]
    ran = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip() == ("[]" if kwargs["tool_timeout"] > 1 else "[0, 1]")


@tool
def hangs_if_told(what: str) -> str:
    """Hang or not."""
    if what == "hang":
        threading.Event().wait()
    return what


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_an_actor_full_of_hung_tools_is_replaced():
    toolbox = Toolbox("", (hangs_if_told,))
    options = {"num_actors": 1, "actor_options": {"num_cpus": 0}}
    envs = RayVectorEnv(toolbox, 5, dataset=[SAMPLE], tool_timeout=LIMIT, max_turns=9, **options)
    try:
        envs.reset(seed=0)
        (pid,) = envs.actor_pids()
        hang, go_on = ToolCall("hangs_if_told", {"what": "hang"}), ToolCall("hangs_if_told", {"what": "on"})
        *_, truncated, infos = envs.step([hang] * 4 + [go_on])
        assert truncated.tolist() == [True] * 4 + [False]
        assert infos["stop_reason"].tolist() == ["tool_timeout"] * 4 + [None]
        envs.step([go_on] * 5)  # the first four are reset
        assert envs.actor_pids() != (pid,)
        *_, infos = envs.step([go_on] * 5)
        assert [turn.results[0].text for turn in infos["turn"]] == ["on"] * 5
        *_, infos = envs.step(["<answer>a</answer>"] * 5)
        assert [len(trajectory.turns) for trajectory in infos["trajectory"]] == [2, 2, 2, 2, 4]
    finally:
        envs.close()
