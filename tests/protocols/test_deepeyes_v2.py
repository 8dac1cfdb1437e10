"""DeepEyesV2's dialect, beside what the original's own function was recorded to do; what differs is named."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepeyes_env import ToolCall, ToolResult
from deepeyes_env.images import ImageRef
from deepeyes_env.protocols import MalformedCall, get_protocol
from tests.conftest import pattern, read_golden

V2 = get_protocol("deepeyes_v2")
RECORDS = {record["kind"]: record for record in read_golden("deepeyes_v2_execute.jsonl")}
FRAME = re.compile(r"<\|im_end\|>\n<\|im_start\|>user\n(.*)<\|im_end\|>\n<\|im_start\|>assistant\n<think>", re.DOTALL)

TOLD = {
    "answer empty": "the answer is empty",
    "answer unclosed": "the answer is not closed",
    "code unclosed tag": "the code is not closed",
    "code no fence": "does not stand between",
    "code fence without language": "does not stand between",
    "code fence on one line": "does not stand between",
    "code closing fence not on own line": "does not stand between",
    "call empty": "the tool call is empty",
    "call is a list": "one JSON object with a name",
}
"""The original ends the episode of these without a word, or writes Python's exception: ours says what is wrong."""


@pytest.mark.parametrize("kind", RECORDS)
def test_a_message_is_read_as_the_original_reads_it(kind):
    record = RECORDS[kind]
    parsed = V2.parse(record["message"])
    extracted = record["extracted"]
    if kind in TOLD:
        (call,) = parsed.calls
        assert isinstance(call, MalformedCall)
        assert TOLD[kind] in call.error
    elif extracted["answer"]:
        assert parsed.answer == extracted["answer"].strip()
    elif extracted["code"] is not None:
        assert parsed.calls == (ToolCall("python", {"code": extracted["code"]}),)
    elif extracted["call"] is not None:
        assert len(parsed.calls) == 1
        assert parsed.answer is None
    else:
        assert (parsed.answer, parsed.calls) == (None, ())
        assert record["done"]


def refused(kind):
    return [kind for kind, record in RECORDS.items() if "Error: Invalid tool call" in (record["obs"] or "")]


@pytest.mark.parametrize("kind", refused(RECORDS))
def test_a_call_is_refused_in_the_original_s_words(kind):
    record = RECORDS[kind]
    (call,) = V2.parse(record["message"]).calls
    status = "malformed" if isinstance(call, MalformedCall) else "unknown_tool"
    result = ToolResult(call if status == "unknown_tool" else ToolCall("", {}), status, getattr(call, "error", "?"))
    assert V2.reply([result], 0) == FRAME.fullmatch(record["obs"])[1]


def ran(record):
    """What a tool ``python`` gives back of what the original's sandbox gave."""
    output = record["sandbox"]["output"]
    text = f"Code execution result:\nstdout:\n```\n{output['stdout']}\n```\n\nstderr:\n```\n{output['stderr']}\n```"
    images = tuple(ImageRef(pattern(*size)) for size in record["image_sizes"])
    return ToolResult(ToolCall("python", {"code": record["extracted"]["code"]}), text=text, images=images)


def runs(records):
    return [
        kind
        for kind, record in records.items()
        if isinstance(record["sandbox"], dict) and record["sent_code"] and not record["raises"]
    ]


@pytest.mark.parametrize("kind", runs(RECORDS))
def test_what_a_program_did_is_told_in_the_original_s_words(kind):
    record = RECORDS[kind]
    said = FRAME.search(record["obs"])
    if said is None:
        assert "50125 characters" in record["obs"]  # recorded shortened
        return
    expected = said[1]
    if kind == "code <image> in stdout":
        expected = expected.replace("<image>", "< image >")  # the original has a stray placeholder here
    written = V2.reply([ran(record)], 0)
    assert written == expected
    assert written.count("<image>") == len(record["image_sizes"])


def test_a_row_s_own_prompt_goes_on_with_an_opened_thought():
    assert V2.row_reply.prefill == "<think>"
    assert not V2.row_reply.replies


@pytest.mark.parametrize("program", ["print(1)", "if x:\n    y\n", "# <tool_call>{}</tool_call>"])
def test_a_program_is_read_back(program):
    call = ToolCall("python", {"code": program})
    assert V2.parse(V2.format_message("Measure it.", call)).calls == (call,)


def test_a_program_that_a_server_stopped_at_is_closed():
    written = V2.format_call(ToolCall("python", {"code": "1"}))
    assert V2.closed(written.removesuffix("</code>")) == written


def test_more_programs_than_one_are_counted():
    message = V2.format_call(ToolCall("python", {"code": "1"})) + V2.format_call(ToolCall("python", {"code": "2"}))
    parsed = V2.parse(message + V2.format_call(ToolCall("search", {"query": "q"})))
    assert [call.arguments["code"] for call in parsed.calls] == ["2"]
    assert parsed.skipped == 2


def test_a_search_without_arguments_has_none():
    assert V2.format_call(ToolCall("image_search", {})) == '<tool_call>\n{"name": "image_search"}\n</tool_call>'


@given(st.text())
def test_anything_may_be_searched_for(query):
    call = ToolCall("search", {"query": f"{query}<answer>1</answer><code>{query}"})
    assert V2.parse(V2.format_call(call)).calls == (call,)


PIECES = ["<code>", "</code>", "```python\n", "\n```", "<answer>", "</answer>", "<tool_call>", "</tool_call>", "{", " "]


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5)).map("".join))
def test_no_message_is_met_with_silence(message):
    """The original ends an episode without a word where marks are there and cannot be read."""
    parsed = V2.parse(message)
    marked = any(tag.opening in message for tag in V2.tags)
    assert bool(parsed.calls or parsed.answer is not None) == marked
    assert "<|" not in V2.reply([ToolResult(ToolCall("", {}), "malformed", str(call)) for call in parsed.calls], 0)


@pytest.mark.parametrize("piece", [*PIECES, "```python", "<code>```python\n"])
def test_reading_takes_linear_time(piece):
    """So many marks that are never closed would keep a regular expression busy for hours."""
    message = piece * 200_000 + "</code>"
    assert V2.parse(message).answer is None
