"""Whatever a policy writes: no exception, an observation inside the space, time linear in the message."""

import json
import math

import gymnasium as gym
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepeyes_env import Sample
from tests.conftest import pattern, zoom_text
from tests.envs.fuzz import FRAGMENTS, Player
from tests.envs.fuzz import play as play_shards

IDS = [f"VisualToolbox-v{n}" for n in range(1, 6)] + ["VisualToolboxNative-v0"]
VALID = [
    zoom_text([10, 10, 90, 90]),
    '<think>x</think><tool_call>{"name": "image_rotate_tool", "arguments": {"angle": 30}}</tool_call>',
    '```json\n{"function": "zoom_in", "bbox_2d": [1, 2, 60, 70], "label": "a"}\n```',
    "<think>a</think><answer>A</answer>",
]
junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.sampled_from([10**400, -(10**30)]),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(), inner, max_size=5),
    max_leaves=10,
)


@pytest.fixture(scope="module")
def envs():
    sample = Sample("s", "What?", "a", pattern(120, 100), options=("a", "b"))
    return [gym.make(env_id, dataset=[sample], max_turns=10**9, max_images=10**9) for env_id in IDS]


def play(envs, message):
    for env in envs:
        env.reset(seed=0)
        obs, reward, terminated, truncated, info = env.step(message)
        assert obs in env.observation_space
        assert obs["text"].count("<image>") == len(obs["images"])
        assert math.isfinite(reward)
        assert isinstance(terminated or truncated, bool)
        for call in info["calls"]:
            assert call.ok or call.error
            assert len(call.error) < 2000


slow_ok = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])


@slow_ok
@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(st.characters(), max_size=5), max_size=30).map("".join))
def test_fragments(envs, message):
    play(envs, message)


@slow_ok
@given(st.sampled_from(VALID), st.data())
def test_mutations(envs, message, data):
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(message)))
        drop = data.draw(st.integers(0, 12))
        message = message[:at] + data.draw(st.sampled_from(FRAGMENTS)) + message[at + drop :]
    play(envs, message)


@pytest.mark.integration
@slow_ok
@given(
    st.sampled_from(["image_zoom_in_tool", "image_rotate_tool", "x"]) | st.text(),
    st.dictionaries(st.sampled_from(["bbox_2d", "bbox", "angle", "label"]), junk) | junk,
)
def test_arguments(envs, name, arguments):
    play(envs, f"<tool_call>{json.dumps({'name': name, 'arguments': arguments})}</tool_call>")
    flat = {"function": name, **arguments} if isinstance(arguments, dict) else arguments
    play(envs, f"```json\n{json.dumps(flat)}\n```")
    play(envs, {"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": json.dumps(arguments)}}]})


MB = 10**6 // 4
CALL = '<tool_call>{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": %s}}</tool_call>'
HUGE = {
    "text": "x" * (10 * MB),
    "open_calls": "<tool_call>" * MB,
    "open_calls_one_close": "<tool_call>" * MB + "</tool_call>",
    "close_calls": "</tool_call>" * MB,
    "calls": zoom_text([1, 1, 99, 99]) * 10_000,
    "empty_calls": "<tool_call></tool_call>" * 100_000,
    "open_answers": "<answer>" * MB,
    "answers": "<answer></answer>" * 125_000,
    "fences": "```json" * MB,
    "nested_json": "<tool_call>" + "[" * (5 * MB) + "]" * (5 * MB) + "</tool_call>",
    "nested_objects": "<tool_call>" + '{"a":' * MB + "1" + "}" * MB + "</tool_call>",
    "huge_integer": CALL % ("[1, 2, 3, " + "9" * (5 * MB) + "]"),
    "many_integers": "<tool_call>[" + ("9" * 4000 + ",") * 2000 + "1]</tool_call>",
    "quotes": '<tool_call>"' * MB,
    "escaped_quotes": '<tool_call>{"a": "' + '\\"<tool_call>' * 125_000,
    "closing_inside_strings": '<tool_call>["' + "</tool_call>" * 125_000,
    "strings_over_tags": '<tool_call>{"a": "</tool_call>' * 75_000,
    "spaces": "<tool_call>" + " " * (10 * MB) + "</tool_call>",
    "thinks": "<think>" * MB,
    "nulls": "\x00" * (5 * MB),
    "surrogates": "<tool_call>" + "\ud800" * (2 * MB) + "</tool_call>",
    "label": CALL % ('[1, 2, 90, 90], "label": "' + "l" * (10 * MB) + '"'),
    "name": '<tool_call>{"name": "' + "n" * (10 * MB) + '"}</tool_call>',
    "answer": "<answer>" + "a" * (10 * MB) + "</answer>",
    "digits": "<answer>" + "9" * (10 * MB) + "</answer>",
}  # fmt: skip


@pytest.mark.timeout(60)  # quadratic time would take half an hour
@pytest.mark.parametrize("kind", HUGE)
def test_megabytes(envs, kind):
    play(envs[1:3] + envs[4:], HUGE[kind])


@pytest.mark.integration
def test_some_mutated_messages_in_threads():
    """The first of what ``make fuzz`` plays, hostile tools and all."""
    player = Player("threads")
    try:
        player.play(seed=1, shard=0, messages=300)
    finally:
        player.close()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("shared_ray")
def test_twenty_thousand_mutated_messages(tmp_path):
    assert len(list(play_shards(20_000, tmp_path))) == 20
    assert not list(play_shards(20_000, tmp_path)), "what has passed is played again"
