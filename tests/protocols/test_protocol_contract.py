"""What agents, servers and exports ask a protocol, for each one that ships and for one of a user's own."""

import json

import pytest

from deepeyes_env import ToolCall, agents, protocols, register_toolbox
from deepeyes_env.protocols import ParsedMessage, Protocol

BOX = {"bbox_2d": [10, 20, 300, 400]}
CALL = ToolCall("image_zoom_in_tool", BOX)


class LineProtocol(Protocol):
    """Calls and answers that stand at the beginning of a line."""

    def parse(self, message):
        for line in message.splitlines():
            if line.startswith("ANSWER "):
                return ParsedMessage(answer=line.removeprefix("ANSWER "))
            if line.startswith("CALL "):
                name, _, arguments = line.removeprefix("CALL ").partition(" ")
                return ParsedMessage(calls=(ToolCall(name, json.loads(arguments)),))
        return ParsedMessage()

    def system_prompt(self, schemas):
        return "Write CALL or ANSWER at the beginning of a line."

    def instructions(self, schemas):
        return ""

    def format_call(self, call):
        return f"CALL {call.name} {json.dumps(dict(call.arguments))}"

    def format_answer(self, answer):
        return f"ANSWER {answer}"

    def reply(self, results, skipped):
        return "\n".join(result.error or "<image>" for result in results)


WITH_CALLS = {
    "v1": protocols.V1,
    "v2": protocols.V2,
    "v3": protocols.V3,
    "v4": protocols.V4,
    "v5": protocols.V5,
    "native": protocols.NativeProtocol(),
    "lines": LineProtocol(),
}


@pytest.mark.parametrize("name", WITH_CALLS)
@pytest.mark.parametrize("thought", ["I look.", ""])
def test_what_is_written_is_read_back(name, thought):
    protocol = WITH_CALLS[name]
    called = protocol.format_message(thought, CALL)
    assert protocol.parse(called) == ParsedMessage(calls=(CALL,))
    answered = protocol.format_message(thought, "blue")
    assert protocol.parse(answered) == ParsedMessage(answer="blue")
    assert protocol.thought_of(called) == protocol.thought_of(answered) == thought


@pytest.mark.parametrize("name", WITH_CALLS)
def test_stop_strings_end_what_is_written(name):
    protocol = WITH_CALLS[name]
    for stop in protocol.stop_strings:
        ends = [protocol.format_message("I look.", action).endswith(stop) for action in (CALL, "blue")]
        assert any(ends)


def test_a_thought_ends_at_its_last_mark():
    thought_of = protocols.V2.thought_of
    assert thought_of("a</think><answer>b</answer>") == "a"  # the chat template wrote the opening mark
    assert thought_of("<think>a</think>b</think>c") == "a</think>b"
    assert thought_of("no thought") == ""


def test_shipped_agents_play_a_protocol_of_ones_own():
    register_toolbox("Lines-v0", tools=["image_zoom_in_tool"], protocol=LineProtocol())
    played = {name: agents.rollout("Lines-v0", name, episodes=12, progress=False) for name in ("oracle", "blind")}
    assert played["oracle"].summary.accuracy == 1
    assert played["oracle"].summary.tool_calls > 0.5
    assert set(played["oracle"].summary.stop_reasons) == {"answer"}
    assert played["blind"].summary.accuracy < 1
