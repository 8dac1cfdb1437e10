"""Every protocol reads what it writes, and survives whatever else it is given."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepeyes_env import ToolCall, ToolResult, register_toolbox
from deepeyes_env.errors import UnknownNameError
from deepeyes_env.images import ImageRef
from deepeyes_env.protocols import (
    V1,
    V2,
    V3,
    V4,
    V5,
    MalformedCall,
    NativeProtocol,
    PlainProtocol,
    TaggedProtocol,
    get_protocol,
    neutral,
    read_message,
    register_protocol,
)
from deepeyes_env.protocols.scan import find_json_spans

PROTOCOLS = {"v1": V1, "v2": V2, "v3": V3, "v4": V4, "v5": V5, "native": NativeProtocol()}
BOX = [1, 2, 300, 400]
names = st.text(min_size=1).filter(lambda name: name not in ("zoom_in", "rotate"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


def test_protocols_have_names():
    assert get_protocol("v2") is get_protocol("V2") is get_protocol(V2) is V2
    assert isinstance(get_protocol("native"), NativeProtocol)
    assert isinstance(get_protocol("plain"), PlainProtocol)
    mine = register_protocol("test_mine", TaggedProtocol(opening="<call>", closing="</call>"))
    assert register_toolbox("TestMine-v0", tools=[], protocol="test_mine").protocol is mine
    with pytest.raises(UnknownNameError, match=r"unknown protocol 'v22'; did you mean 'v2'\?"):
        register_toolbox("TestTypo-v0", tools=[], protocol="v22")
    with pytest.raises(TypeError, match="is not a protocol"):
        register_toolbox("TestTypo-v0", tools=[], protocol=TaggedProtocol)


@pytest.mark.integration
@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
@settings(max_examples=25)
@given(name=names, arguments=st.dictionaries(st.text().filter(lambda key: key != "function"), values))
def test_calls_round_trip(protocol, name, arguments):
    call = ToolCall(name, arguments)
    parsed = protocol.parse("<think>hm</think>" + protocol.format_call(call))
    assert parsed.calls == (call,)
    assert parsed.answer is None


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_calls_with_tags_inside_json_strings_round_trip(protocol):
    call = ToolCall("image_zoom_in_tool", {"bbox_2d": BOX, "label": "</tool_call> ``` <answer>no</answer>"})
    assert protocol.parse(protocol.format_call(call)).calls == (call,)


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_answers_round_trip_and_win_over_calls(protocol):
    assert protocol.parse("<think>x</think>" + protocol.format_answer("a red flag")).answer == "a red flag"
    both = protocol.format_call(ToolCall("zoom", {})) + "<answer>B</answer>"
    assert protocol.parse(both).answer == "B"


@pytest.mark.parametrize("protocol", [V1, V2, V3, V4, V5], ids=["v1", "v2", "v3", "v4", "v5"])
@pytest.mark.parametrize("text", ["", "I think it is red.", "A<answer>", "<answer></answer>", "<answer> \n</answer>"])
def test_neither_call_nor_answer(protocol, text):
    parsed = protocol.parse(text)
    assert (parsed.answer, parsed.calls) == (None, ())


@pytest.mark.parametrize("protocol", [V1, V2, V3, V4, V5], ids=["v1", "v2", "v3", "v4", "v5"])
def test_an_answer_that_was_cut_off_is_one(protocol):
    assert protocol.parse("<think>a</think><answer>A").answer == "A"
    assert protocol.parse("<answer>A" + protocol.format_call(ToolCall("zoom", {}))).answer is None


def test_which_calls_of_a_message_are_run():
    text = "".join(V2.format_call(ToolCall("zoom", {"n": n})) for n in range(5))
    taken = {name: [call.arguments["n"] for call in PROTOCOLS[name].parse(text).calls] for name in ("v1", "v2", "v5")}
    assert taken == {"v1": [0], "v2": [4], "v5": [0, 1, 2]}
    assert V5.parse(text).skipped == 2


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "not valid JSON"),
        ("{'name': 1}", "not valid JSON"),
        ('{"name": "a", "arguments": {"x": NaN}}', "NaN is not a number"),
        ('{"name": "a", "arguments": {"x": -Infinity}}', "Infinity is not a number"),
        ('{"name": "a", "arguments": {"x": [1, -1e999]}}', "-1e999 is too large a number"),
        ("42", "must be one JSON object"),
        ("[]", "must be one JSON object"),
        ('{"arguments": {}}', "lacks a name"),
        ('{"name": "a", "arguments": []}', "lacks a name or an object"),
        ("[" * 100_000, "nested too deeply"),
        ('{"name": "a", "arguments": {"x": ' + "9" * 5000 + "}}", "not valid JSON"),
    ],
)
def test_malformed_calls_say_why_and_how(written, reason):
    (call,) = V2.parse(f"<tool_call>{written}</tool_call>").calls
    assert isinstance(call, MalformedCall)
    assert reason in call.error
    assert "write <tool_call>" in call.error
    assert len(call.error) < 600


def test_flat_protocols_name_the_zoom_tool():
    fenced = f'```json\n{{"function": "zoom_in", "bbox_2d": {BOX}, "label": "a"}}\n```'
    tagged = f'<tool_call>\n{{"function": "zoom_in", "bbox_2d": {BOX}}}\n</tool_call>'
    assert V3.parse(fenced).calls == (ToolCall("image_zoom_in_tool", {"bbox_2d": BOX, "label": "a"}),)
    assert V4.parse(tagged).calls == (ToolCall("image_zoom_in_tool", {"bbox_2d": BOX}),)
    assert V3.parse(f"```json\n[{fenced[8:-3]}]\n```").calls[0].name == "image_zoom_in_tool"


def test_native_text_without_a_call_is_the_answer():
    assert NativeProtocol().parse("<think>a b</think>\n It is red.").answer == "It is red."
    assert NativeProtocol().parse("  ").answer is None


def test_plain_takes_the_message():
    assert PlainProtocol().parse("so \\boxed{12}").answer == "so \\boxed{12}"
    assert PlainProtocol().parse("<answer>12</answer>").answer == "12"


def test_reply_has_one_placeholder_per_image():
    image = ImageRef(b"x")
    results = [
        ToolResult(ToolCall("a", {}), images=(image, image), text="see <image> and <|im_end|>"),
        ToolResult(ToolCall("b", {}), "bad_arguments", "wrong <image> \ud800"),
    ]
    for protocol in PROTOCOLS.values():
        text = protocol.reply(results, skipped=7)
        assert text.count("<image>") == 2
        assert "<|im_end|>" not in text
        assert "7 more calls" in text
        text.encode()


@given(st.text())
def test_neutral_text_is_harmless(text):
    safe = neutral(text)
    assert "<image>" not in safe
    assert "<|" not in safe
    safe.encode()


@pytest.mark.parametrize("protocol", PROTOCOLS.values(), ids=PROTOCOLS)
def test_assistant_messages_play_in_every_protocol(protocol):
    function = {"name": "image_zoom_in_tool", "arguments": json.dumps({"bbox_2d": BOX})}
    message = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "function", "function": function}],
    }
    text, parsed = read_message(message, protocol)
    assert parsed.calls == (ToolCall("image_zoom_in_tool", {"bbox_2d": BOX}, id="c1"),)
    assert protocol.parse(text).calls == (ToolCall("image_zoom_in_tool", {"bbox_2d": BOX}),)
    text, parsed = read_message({"role": "assistant", "content": "<answer>A</answer>"}, protocol)
    assert (text, parsed.answer) == ("<answer>A</answer>", "A")


@pytest.mark.parametrize(
    "call",
    [
        None,
        {},
        {"function": {}},
        {"function": {"name": 3}},
        {"function": {"name": "a", "arguments": "{"}},
        {"function": {"name": "a", "arguments": "[1]"}},
        {"function": {"name": "a", "arguments": [1]}},
    ],
)
def test_broken_assistant_messages_become_malformed_calls(call):
    _, parsed = read_message({"content": [{"type": "text", "text": "hm"}], "tool_calls": [call]}, V2)
    assert isinstance(parsed.calls[0], MalformedCall)


@pytest.mark.parametrize("protocol", [V2, PlainProtocol(), NativeProtocol()])
def test_a_thought_apart_is_told_and_not_parsed(protocol):
    message = {"role": "assistant", "content": "<answer>A</answer>", "reasoning_content": "<answer>B</answer> or"}
    text, parsed = read_message(message, protocol)
    assert text == "<think><answer>B</answer> or</think><answer>A</answer>"
    assert parsed.answer == "A"


def test_a_native_message_cut_off_in_a_call_is_no_answer():
    assert NativeProtocol().parse('Let me see. <tool_call>{"na').answer is None
    assert NativeProtocol().parse("<think>a <tool_call> would help</think>It is A.").answer == "It is A."


def test_parts_without_text_say_nothing():
    content = [{"type": "text", "text": text} for text in ("<answer>A", None, "</answer>")]
    assert read_message({"content": content}, V2)[1].answer == "A"


def test_spans_do_not_overlap_and_need_both_tags():
    assert find_json_spans("<a>x", "<a>", "</a>") == []
    assert find_json_spans("</a><a>", "<a>", "</a>") == []
    text = "<a>1<a>2</a>3</a><a></a>"
    assert [text[span.inner : span.outer] for span in find_json_spans(text, "<a>", "</a>")] == ["1<a>2", ""]


def test_a_mistake_in_the_json_of_a_call_has_a_place():
    box = '{"name": "image_zoom_in_tool", "arguments": {"bbox_2d": [1, 2 300, 400]}}'
    (call,) = V2.parse(f"<tool_call>{box}</tool_call>").calls
    assert "Expecting ',' delimiter at character 63, between" in call.error
    assert "'300, 400]}}'" in call.error
    (call,) = V2.parse(f"<tool_call>{box[:40]}</tool_call>").calls
    assert "at its end" in call.error
    arguments = {"function": {"name": "a", "arguments": '{"x": <image>}'}}
    (call,) = read_message({"tool_calls": [arguments]}, NativeProtocol())[1].calls
    assert "Expecting value at character 7" in call.error
    assert "<image>" not in call.error
