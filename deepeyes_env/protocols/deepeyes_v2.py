"""DeepEyesV2's dialect (arXiv 2511.05271): a message runs a program, calls a search, or answers.

What is read, and what comes back, is what the original's training reads and writes, but for this: a message that it
ends an episode for without a word gets an observation that says what was wrong, so do calls that it fails on by an
exception, and marks in what a program prints have no power.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deepeyes_env.core import IMAGE_PLACEHOLDER, ToolCall, ToolResult
from deepeyes_env.protocols.protocol import MalformedCall, ParsedCall, ParsedMessage, Protocol, neutral, quote
from deepeyes_env.protocols.scan import find_json_spans, last_between
from deepeyes_env.protocols.tagged import response_text
from deepeyes_env.protocols.tags import ANSWER, CODE, THINK, TOOL_CALL, TOOL_RESPONSE, TOOLS, Tag
from deepeyes_env.protocols.template import PromptTemplate
from deepeyes_env.strict_json import plain, read_json

PYTHON = "python"
"""The tool that runs programs: called by code, not by JSON."""

IMAGE_SEARCH = "image_search"
"""The tool that a call names without any arguments."""

MAX_ECHO = 1000
"""How many characters of a call an error repeats at most."""

_FENCE = re.compile(r"```python\s*\n")
_FENCE_END = "\n```"
_HOW_TO_CODE = CODE.around("\\n```python\\n...\\n```\\n")
_HOW_TO_CALL = TOOL_CALL.around('{"name": <function-name>, "arguments": <object>}')


class DeepEyesV2Protocol(Protocol):
    r"""Programs in ``<code>`` tags, searches as JSON in ``<tool_call>`` tags, answers in ``<answer>`` tags.

    Of a message the first of these counts that is there: an answer that is not empty, wherever it stands, thought and
    program included; a program, between "\`\`\`python" and "\`\`\`" on a line of its own; a call. Of several the last.
    """

    row_reply = PromptTemplate(prefill=THINK.opening)

    def parse(self, message: str) -> ParsedMessage:
        """Take an assistant message apart, in the original's order of precedence."""
        answer = last_between(message, *ANSWER)
        if answer:
            return ParsedMessage(answer=answer.rpartition(ANSWER.opening)[2].strip())
        if CODE.opening in message:
            others = message.count(CODE.closing) - 1 + message.count(TOOL_CALL.closing)
            return ParsedMessage(calls=(_program(message),), skipped=max(0, others), recordable=True)
        if TOOL_CALL.opening in message:
            spans = find_json_spans(message, *TOOL_CALL)
            call = _call(message[spans[-1].inner : spans[-1].outer].strip()) if spans else _UNCLOSED_CALL
            return ParsedMessage(calls=(call,), skipped=max(0, len(spans) - 1), recordable=True)
        if ANSWER.opening in message:
            reason = "is not closed" if answer is None else "is empty"
            return ParsedMessage(calls=(MalformedCall(f"the answer {reason}; write {ANSWER.around('...')}"),))
        return ParsedMessage()

    def format_call(self, call: ToolCall) -> str:
        """Write a program between its marks, another call as JSON; one without arguments names none."""
        code = call.arguments.get("code")
        if call.name == PYTHON and isinstance(code, str):
            return CODE.around(f"\n```python\n{code}\n```\n")
        body: dict[str, Any] = {"name": call.name}
        if call.arguments:
            body["arguments"] = dict(call.arguments)
        written = json.dumps(body, default=plain)
        if any(mark in written for tag in self.tags for mark in tag):
            written = written.replace("<", "\\u003c")  # within a string; such marks would be read first
        return TOOL_CALL.around(f"\n{written}\n")

    @property
    def ending_tags(self) -> tuple[Tag, ...]:
        """The tags of a program and of a call: where the original stops a message."""
        return (CODE, TOOL_CALL)

    @property
    def tags(self) -> tuple[Tag, ...]:
        """The tags of a program, of a call and of the answer."""
        return (CODE, TOOL_CALL, ANSWER)

    def system_prompt(self, schemas: Sequence[dict[str, Any]]) -> str:
        """Explain how a turn is written, what a program finds, and the tools that are called by JSON."""
        names = [schema["function"]["name"] for schema in schemas]
        parts = ["You solve questions about images step by step, and go on until the question is answered."]
        if PYTHON in names:
            parts.append(_ON_CODE)
        called = [schema for schema in schemas if schema["function"]["name"] != PYTHON]
        if called:
            listed = "\n".join(map(json.dumps, called))
            parts.append(
                f"You can call one tool in a message. Their signatures stand within {TOOLS.around('')}:\n"
                f"{TOOLS.around(f'{chr(10)}{listed}{chr(10)}')}\nTo call one, write\n"
                + TOOL_CALL.around('\n{"name": <function-name>, "arguments": <args-json-object>}\n')
                + "\nA tool without parameters is called without arguments. Search where you lack knowledge."
            )
        return "\n\n".join(parts)

    def instructions(self, schemas: Sequence[dict[str, Any]]) -> str:
        """Say how to reply: think, then one of code, call and answer."""
        names = [schema["function"]["name"] for schema in schemas]
        ways = [CODE.around("...")] if PYTHON in names else []
        if len(names) > len(ways):
            ways.append(TOOL_CALL.around("..."))
        ways.append(ANSWER.around("..."))
        return f"\nThink first: write {THINK.around('...')}, and then exactly one of {', '.join(ways)}."

    def reply(self, results: Sequence[ToolResult], skipped: int) -> str:
        """Write what came back in the original's words; calls that were not run are in the record only."""
        return "\n".join(map(_observation, results))


_ON_CODE = f"""\
You can write Python, which runs as in a notebook: variables are kept from one program to the next. Write
{CODE.around(chr(10) + "```python" + chr(10) + "..." + chr(10) + "```" + chr(10))}
The images are there as PIL images, image_1, image_2 and so on: those of the question, and then every image that is \
shown to you. What a program prints, its errors, and images shown with plt.show() come back. Use code wherever it \
helps: to crop and enlarge, to measure, to count, to compute. Programs have a time limit; no endless loops."""

_UNCLOSED_CALL = MalformedCall(f"the tool call is not closed; write {_HOW_TO_CALL}")


def _program(message: str) -> ParsedCall:
    written = last_between(message, *CODE)
    if written is None:
        return MalformedCall(f"the code is not closed; write {_HOW_TO_CODE}")
    code = _last_fenced(written)
    if code is None:
        reason = "does not stand between ```python and ``` on lines of their own"
        return MalformedCall(f"the code {reason}: {quote(written.strip())}; write {_HOW_TO_CODE}")
    if not code.strip():
        return MalformedCall(f"the code is empty; write {_HOW_TO_CODE}")
    return ToolCall(PYTHON, {"code": code})


def _last_fenced(text: str) -> str | None:
    """Return what stands in the last fenced block of Python, reading blocks from left to right."""
    found, end = None, 0
    while (opening := _FENCE.search(text, end)) is not None:
        closing = text.find(_FENCE_END, opening.end())
        if closing < 0:
            break
        found, end = text[opening.end() : closing], closing + len(_FENCE_END)
    return found


def _call(written: str) -> ParsedCall:
    if not written:
        return MalformedCall(f"the tool call is empty; write {_HOW_TO_CALL}")
    told = written if len(written) <= MAX_ECHO else f"{written[:MAX_ECHO]}..."
    try:
        value = read_json(written)
    except ValueError as error:
        return MalformedCall(f"Invalid tool call format: {told}. Error: {error}")
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return MalformedCall(f"the tool call must be one JSON object with a name, not {quote(told)}")
    name, arguments = value["name"], value.get("arguments")
    if name == IMAGE_SEARCH and arguments is not None:
        return MalformedCall(f"Invalid tool call parameters for image search: {told}.")
    if not isinstance(arguments, dict | None):
        return MalformedCall(
            f"the arguments of {quote(name)} must be a JSON object, not {quote(json.dumps(arguments))}"
        )
    return ToolCall(name, arguments or {})


def _observation(result: ToolResult) -> str:
    if result.status == "unknown_tool":
        written = json.dumps({"name": result.call.name, "arguments": dict(result.call.arguments)}, ensure_ascii=False)
        return f"Error: Invalid tool call name: {neutral(written[:MAX_ECHO])}."
    if not result.ok:
        return response_text(result)
    if result.call.name != PYTHON:
        # Names would stand before images otherwise; here only the prompt says how they are numbered.
        return TOOL_RESPONSE.around(f"\n{response_text(replace(result, origin=None))}\n")
    images = f"\n\nImages:\n{IMAGE_PLACEHOLDER * len(result.images)}" if result.images else ""
    return neutral(result.text) + images
