"""What JSON or a pickle cannot hold costs a call, or one environment; never a run."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from deepeyes_env import Rubric, Sample, Term, ToolCall, agents
from deepeyes_env.envs import Toolbox, VisualToolboxEnv
from deepeyes_env.envs.vector import RayVectorEnv, Reset, Step, ThreadVectorEnv
from deepeyes_env.protocols import TaggedProtocol
from deepeyes_env.strict_json import MAX_DEPTH, as_json, is_recordable, read_json
from deepeyes_env.tools import RotateTool, ZoomTool
from deepeyes_env.trajectories import TrajectoryWriter, read_trajectories
from tests.conftest import pattern, zoom_text

SAMPLE = Sample("s", "What?", "a", pattern(120, 100))
NESTED = '<tool_call>{"name": "image_zoom_in_tool", "arguments": {"label": ' + "[" * 490 + "]" * 490 + "}}</tool_call>"
CYCLE: dict = {"bbox_2d": [1, 2, 30, 40]}
CYCLE["label"] = CYCLE
DEEP: list = []
for _ in range(5000):
    DEEP = [DEEP]
ARGUMENTS = {
    "cycle": CYCLE,
    "tuple keys": {(1, 2): 3},
    "long integer": {"bbox_2d": [1, 2, 3, 10**4301]},
    "deep": {"label": DEEP},
    "not a number": {"bbox_2d": [1, 2, 3, float("nan")]},
}


class Ours(TaggedProtocol):
    """A protocol whose own reader lets everything pass."""

    def parse(self, message):
        parsed = super().parse("<tool_call>{}</tool_call>")
        call = ToolCall("image_zoom_in_tool", ARGUMENTS[message]) if message in ARGUMENTS else parsed.calls[0]
        return type(parsed)(calls=(call,))


@pytest.mark.parametrize("levels", [1, MAX_DEPTH - 1, MAX_DEPTH])
def test_as_deep_as_the_recorder_agrees_to(levels):
    value = json.loads("[" * levels + "1" + "]" * levels)
    assert read_json(json.dumps(value)) == as_json(value) == value
    assert is_recordable(value)


@pytest.mark.parametrize(
    "text", ["[" * 65 + "]" * 65, '{"a":' * 65 + "1" + "}" * 65, "[" * 10**6, "[" * 10**5 + "]" * 10**5]
)
def test_deeper_is_refused_when_it_is_read(text):
    with pytest.raises(ValueError, match="nested too deeply|Expecting value"):
        read_json(text)


def test_what_comes_back_is_what_json_has():
    assert as_json({"a": np.float32(0.5), "b": np.arange(3), 1: (True, None)}) == {
        "a": 0.5,
        "b": [0, 1, 2],
        "1": [True, None],
    }
    for value in (CYCLE, {(1,): 1}, 10**4301, DEEP, [float("inf")]):
        with pytest.raises(ValueError, match="nested|Circular|keys must|digits|Infinity"):
            as_json(value)


def checked(env, action, tmp_path):
    env.reset(seed=0)
    observation, *_, info = env.step(action)
    assert observation in env.observation_space
    pickle.dumps(info["turn"].results)
    with TrajectoryWriter(tmp_path) as writer:
        writer.write(env.trajectory)
    (read,) = read_trajectories(tmp_path)
    assert len(read.turns) == 1
    return info["calls"][0]


@pytest.mark.parametrize("kind", ARGUMENTS)
@pytest.mark.parametrize("form", ["call", "message", "text in a message", "a protocol of one's own"])
def test_arguments_that_json_cannot_hold_are_an_observation(kind, form, tmp_path):
    arguments = ARGUMENTS[kind]
    protocol = Ours() if form.startswith("a protocol") else TaggedProtocol()
    env = VisualToolboxEnv(Toolbox("", (ZoomTool(), RotateTool()), protocol), [SAMPLE])
    message = {"tool_calls": [{"function": {"name": "image_zoom_in_tool", "arguments": arguments}}]}
    actions = {
        "call": ToolCall("image_zoom_in_tool", arguments),
        "message": message,
        "text in a message": {**message, "content": [{"text": 10**5000}], "reasoning_content": arguments},
        "a protocol of one's own": kind,
    }
    result = checked(env, actions[form], tmp_path)
    assert result.status in ("malformed", "bad_arguments")
    assert "image_zoom_in_tool" in result.error or "bbox_2d" in result.error


@pytest.mark.parametrize("call", [CYCLE, DEEP, {"function": CYCLE}, {"function": {"name": 10**5000, "id": DEEP}}])
def test_calls_that_json_cannot_hold_are_an_observation(call, tmp_path):
    env = VisualToolboxEnv(dataset=[SAMPLE])
    assert checked(env, {"tool_calls": [call]}, tmp_path).status == "malformed"


def test_a_protocol_that_cannot_write_a_call_still_reads_it(tmp_path):
    class OneTool(TaggedProtocol):
        def format_call(self, call):
            return f"ZOOM {call.arguments['bbox_2d'][3]}"

    env = VisualToolboxEnv(Toolbox("", (ZoomTool(),), OneTool()), [SAMPLE])
    assert checked(env, ToolCall("image_zoom_in_tool", {"bbox_2d": [1]}), tmp_path).status == "bad_arguments"


def zero(evidence):
    return 0.0


def actions():
    return [NESTED, zoom_text([5, 5, 70, 60]), {"tool_calls": [{"function": {"name": "x", "arguments": CYCLE}}]}]


class Unpackable(Rubric):
    """Adds to an episode what cannot be pickled, for one answer."""

    def __call__(self, trajectory):
        metadata = {"odd": lambda: 0} if trajectory.answer == "odd" else {}
        return replace(super().__call__(trajectory), metadata=metadata)


def played(env):
    """Step, and in the background; each environment on its own."""
    env.reset(seed=0)
    *_, truncated, infos = env.step(actions())
    assert [calls[0].status for calls in infos["calls"]] == ["malformed", "ok", "malformed"]
    assert not truncated.any()
    env.send({i: Reset(i) for i in range(3)})
    env.recv()
    env.send(dict(enumerate(map(Step, actions()))))
    outcomes = env.recv()
    assert [outcomes[i].info["calls"][0].status for i in range(3)] == ["malformed", "ok", "malformed"]


def test_in_threads():
    env = ThreadVectorEnv(3, dataset=[SAMPLE])
    played(env)
    env.close()


@pytest.mark.ray
@pytest.mark.usefixtures("shared_ray")
def test_in_actors():
    options = {"num_actors": 1, "actor_options": {"num_cpus": 0}}
    env = RayVectorEnv("VisualToolbox-v2", 3, dataset=[SAMPLE], rubric=Unpackable([Term("acc", zero)]), **options)
    try:
        played(env)
        env.reset(seed=0)
        *_, truncated, infos = env.step(["<answer>odd</answer>", zoom_text([5, 5, 70, 60]), "<answer>a</answer>"])
        assert truncated.tolist() == [True, False, False]
        assert "cannot be sent" in infos["error"][0]
        assert infos["stop_reason"].tolist() == ["error", None, "answer"]
        *_, infos = env.step(["", zoom_text([5, 5, 70, 60]), ""])
        assert len(infos["turn"][1].results) == 1
    finally:
        env.close()


def test_a_recorded_rollout(tmp_path):
    class Nests:
        name = "nests"

        def act(self, episodes):
            return [agents.Reply(NESTED) for _ in episodes]

    run = agents.rollout("VisualToolbox-v2", Nests(), episodes=2, out=tmp_path, dataset=[SAMPLE], progress=False)
    assert not run.failures
    assert {result.status for each in read_trajectories(tmp_path) for result in each.results} == {"malformed"}
