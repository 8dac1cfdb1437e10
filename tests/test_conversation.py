"""An episode as chat messages."""

import base64
import json
from io import BytesIO

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from deepeyes_env import ImageRef, Sample, ToolCall
from deepeyes_env.conversation import content_parts, messages_of, openai_messages
from deepeyes_env.core import Message
from deepeyes_env.trajectories.export import export
from tests.conftest import zoom_text

CALL = {"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [100, 100, 400, 400]}}


def native_message(content, thought=None, *calls, id="c1"):
    function = {"name": CALL["name"], "arguments": json.dumps(CALL["arguments"])}
    written = [{"id": id, "type": "function", "function": function}, *calls]
    return {"role": "assistant", "content": content, "reasoning_content": thought, "tool_calls": written}


@pytest.fixture
def native(sample):
    env = gym.make("VisualToolboxNative-v0", dataset=[sample], view=None).unwrapped
    env.reset(seed=0)
    return env


MENTIONS = [
    "I could write <tool_call> here.",
    'I could write <tool_call>{"name": "x", "arguments": {}}</tool_call> here.',
    "An unclosed <tool_call>{ and then some.",
    "</tool_call> <tool_call> </tool_call>",
]


@pytest.mark.parametrize("thought", MENTIONS)
def test_a_thought_that_mentions_a_call_is_kept_whole(native, thought):
    native.step(native_message("Looking.", thought))
    native.step({"role": "assistant", "content": "red"})
    episode = native.trajectory
    _, said, result, answer = messages_of(episode)
    assert said.text == f"<think>{thought}</think>Looking."
    assert said.calls == (ToolCall(CALL["name"], CALL["arguments"], "c1"),)
    assert (result.role, result.call_id, len(result.images)) == ("tool", "c1", 1)
    assert answer.text == "red"


def test_a_thought_that_the_sharegpt_format_cannot_hold_is_left_out_and_counted(native, tmp_path):
    """It was cut at the mark, left unclosed, and counted as written."""
    episodes = []
    for thought in ("The flag is small. I write <tool_call> next, and look.", "The flag is small."):
        native.reset(seed=0)
        native.step(native_message("", thought))
        native.step({"role": "assistant", "content": "red"})
        episodes.append(native.trajectory)
    done = export(episodes, tmp_path / "data.jsonl", "sharegpt")
    assert (done.written, dict(done.left_out)) == (1, {"a call with <tool_call> in its text": 1})
    (line,) = (tmp_path / "data.jsonl").read_text().splitlines()
    (_, said, *_) = json.loads(line)["conversations"]
    assert said["value"].startswith("<think>\nThe flag is small.\n</think>\n\n")


def test_several_calls_and_one_that_cannot_be_read(native):
    broken = {"id": "c2", "type": "function", "function": {"name": "image_zoom_in_tool", "arguments": "{bbox"}}
    native.step(native_message("", None, broken))
    _, said, first, second = messages_of(native.trajectory)
    assert [call.id for call in said.calls] == ["c1", "call_2"] == [first.call_id, second.call_id]
    assert said.calls[1] == ToolCall("image_zoom_in_tool", {"unreadable": "{bbox"}, "call_2")
    assert second.text.startswith("Error: ")


def test_calls_without_ids_get_some_that_differ(native):
    for _ in range(2):
        native.step("<think>a</think>" + 2 * f"<tool_call>{json.dumps(CALL)}</tool_call>")
    messages = messages_of(native.trajectory)
    ids = [call.id for message in messages for call in message.calls]
    assert len(set(ids)) == 4
    assert ids == [message.call_id for message in messages if message.role == "tool"]


def test_text_protocols_go_as_text(sample):
    env = gym.make("VisualToolbox-v2", dataset=[sample], view=None).unwrapped
    _, info = env.reset(seed=0)
    env.step(zoom_text([100, 100, 400, 400]))
    system, opening, said, reply = messages_of(env.trajectory)
    assert (system.role, system.text) == ("system", info["system_prompt"])
    assert (opening.role, said.role, reply.role) == ("user", "assistant", "user")
    assert said.text == zoom_text([100, 100, 400, 400])
    assert len(reply.images) == 1
    assert not said.calls


def test_an_observation_as_content_of_chat_completions(tmp_path):
    Image.new("RGB", (60, 40), "green").save(tmp_path / "a.png")
    image = ImageRef(tmp_path / "a.png")
    message = Message("Before <image> between <image>", (image, image))
    assert content_parts(message) == ["Before ", image, " between ", image]
    env = gym.make("VisualToolbox-v2", dataset=[Sample("1", "What?", "a", image)], view=None).unwrapped
    env.reset(seed=0)
    system, user = openai_messages(env.trajectory)
    assert system["role"] == "system"
    assert [part["type"] for part in user["content"]] == ["image_url", "text"]
    head, _, data = user["content"][0]["image_url"]["url"].partition(",")
    assert head == "data:image/png;base64"
    sent = Image.open(BytesIO(base64.b64decode(data)))
    assert np.array_equal(np.asarray(sent), image.pixels())
