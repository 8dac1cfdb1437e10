"""OpenAI fine-tuning JSONL: written, read back, accepted by the client's own types, and what a reader finds wrong."""

import base64
import json
from dataclasses import replace

import numpy as np
import pytest

from deepeyes_env.agents.openai import requests
from deepeyes_env.conversation import with_images_in_user_messages
from deepeyes_env.core import ToolCall
from deepeyes_env.errors import DataError
from deepeyes_env.images.codec import encode
from deepeyes_env.images.ref import ImageRef
from deepeyes_env.trajectories.export import conversation_of, export, openai_jsonl
from deepeyes_env.trajectories.export.openai_reader import read_openai


@pytest.mark.parametrize("calls", ["text", "native"])
def test_it_comes_back(noisy, tmp_path, plainly, calls):
    readable = [t for t in noisy if calls == "text" or all(result.call.name for result in t.results)]
    export(noisy, tmp_path / "tune.jsonl", "openai", calls=calls)
    read = [plainly(conversation, weights=True) for conversation in read_openai(tmp_path / "tune.jsonl")]
    made = [conversation_of(trajectory, calls) for trajectory in readable]
    made = [replace(one, messages=with_images_in_user_messages(one.messages)) for one in made]
    expected = [plainly(each, weights=True, id=str(n)) for n, each in enumerate(made, start=1)]
    assert len(readable) > 5
    assert read == expected


def pieces(messages):
    """Roles, and texts without images, of OpenAI-style messages."""
    for message in messages:
        parts = message.get("content", "")
        texts = [parts] if isinstance(parts, str) else [p if isinstance(p, str) else p.get("text", "") for p in parts]
        calls = [json.loads(call["function"]["arguments"]) for call in message.get("tool_calls", ())]
        yield message["role"], "".join(text for text in texts if isinstance(text, str)), calls


@pytest.mark.parametrize("run", ["oracle", "noisy", "native"])
def test_it_is_what_the_agent_of_an_endpoint_says_and_hears(run, tmp_path, request):
    trajectories = request.getfixturevalue(run)
    export(trajectories, tmp_path / "tune.jsonl", "openai")
    for line, trajectory in zip((tmp_path / "tune.jsonl").read_text().splitlines(), trajectories, strict=True):
        heard = requests.messages_for_server(trajectory, place="user")
        for message in heard:
            if not isinstance(message["content"], str):
                message["content"] = [part for part in message["content"] if isinstance(part, str)]
        assert list(pieces(json.loads(line)["messages"])) == list(pieces(heard))


def test_images_of_native_calls_follow_in_a_message_of_their_own(native, tmp_path):
    export(native, tmp_path / "tune.jsonl", "openai")
    record = json.loads((tmp_path / "tune.jsonl").read_text().splitlines()[0])
    roles = [message["role"] for message in record["messages"]]
    assert roles == ["user", "assistant", "tool", "tool", "user", "assistant"]
    assert [part["type"] for part in record["messages"][4]["content"]] == ["text", "image_url", "image_url"]


@pytest.mark.parametrize("run", ["noisy", "native"])
def test_the_clients_own_types_accept_it(run, tmp_path, request):
    types = pytest.importorskip("openai.types.chat")
    from pydantic import TypeAdapter

    export(request.getfixturevalue(run), tmp_path / "tune.jsonl", "openai")
    message, tool = TypeAdapter(types.ChatCompletionMessageParam), TypeAdapter(types.ChatCompletionToolParam)
    for line in (tmp_path / "tune.jsonl").read_text().splitlines():
        record = json.loads(line)
        for each in record["messages"]:
            checked = message.validate_python(each)
            if isinstance(each.get("content"), list):
                list(checked["content"])  # pydantic checks an iterable as it is gone through
            list(checked.get("tool_calls", ()))
        for each in record.get("tools", ()):
            tool.validate_python(each)


def test_weights_leave_out_failed_calls(noisy, tmp_path):
    export(noisy, tmp_path / "tune.jsonl", "openai")
    failed = sum(not all(result.ok for result in turn.results) for t in noisy for turn in t.turns)
    records = map(json.loads, (tmp_path / "tune.jsonl").read_text().splitlines())
    weights = [m["weight"] for record in records for m in record["messages"] if m["role"] == "assistant"]
    assert weights.count(0) == failed > 0
    assert set(weights) == {0, 1}


def test_the_first_image_keeps_its_bytes(oracle, tmp_path):
    export(oracle[:1], tmp_path / "tune.jsonl", "openai")
    record = json.loads((tmp_path / "tune.jsonl").read_text())
    (url,) = [part["image_url"]["url"] for part in record["messages"][1]["content"] if part["type"] == "image_url"]
    assert base64.b64decode(url.partition(",")[2]) == oracle[0].prompt.images[0].encoded()


def test_an_image_that_is_too_large_becomes_jpeg(oracle, tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (2000, 2000, 3), dtype=np.uint8)
    image = ImageRef(encode(noise))
    assert len(image.encoded()) > openai_jsonl.MAX_IMAGE_BYTES
    large = replace(oracle[0], prompt=replace(oracle[0].prompt, images=(image,)))
    export([large], tmp_path / "tune.jsonl", "openai")
    (read,) = read_openai(tmp_path / "tune.jsonl")
    assert read.images[0].encoded()[:3] == b"\xff\xd8\xff"
    assert read.images[0].size == (2000, 2000)


def test_what_the_service_would_refuse_is_left_out(oracle):
    made = conversation_of(oracle[0], "native")
    asking = made.messages[1]
    many = replace(made.messages[0], text="<image>" * 11, images=made.images[:1] * 11)
    odd = replace(asking, calls=(ToolCall("zoom in!", {}, "call_1"),))
    unlearned = [replace(message, trainable=False) for message in made.messages]
    assert openai_jsonl.reason_to_skip(made) == ""
    assert openai_jsonl.reason_to_skip(replace(made, messages=(many, asking))) == "more than 10 images"
    assert "name" in openai_jsonl.reason_to_skip(replace(made, messages=(made.messages[0], odd)))
    assert openai_jsonl.reason_to_skip(replace(made, messages=tuple(unlearned))) == "no message to learn from"


def change(number, **fields):
    return lambda record: record["messages"][number].update(fields)


def picture(url):
    return {"content": [{"type": "image_url", "image_url": {"url": url}}]}


def function(**fields):
    return lambda record: record["messages"][1]["tool_calls"][0]["function"].update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("messages"), "has no 'messages'"),
        (lambda r: r.update(tools="[]"), "tools must be a list"),
        (lambda r: r.update(tools=[{"type": "function"}]), r"tools\[0\] has no 'function'"),
        (lambda r: r["messages"].pop(), "messages must end with one of the assistant"),
        (lambda r: r["messages"].pop(0), r"messages\[0\]: a user's message must come first"),
        (change(0, role="human"), r"messages\[0\].role 'human' cannot stand here"),
        (change(0, content=3), r"messages\[0\].content must be a list, not 3"),
        (change(0, content=[{"type": "input_text"}]), r"content\[0\].type must be 'text' or 'image_url'"),
        (change(0, **picture("http://x/y.png")), r"content\[0\].image_url.url must be a data URL in base64"),
        (change(0, **picture("data:image/png;base64,?")), "is not base64"),
        (change(0, **picture("data:image/jpeg;base64,iVBORw0KGgo=")), "says 'image/jpeg', and the image is image/png"),
        (change(0, **picture("data:image/png;base64,iVBORw0KGgo=")), "has a damaged header"),
        (change(1, weight=0.5), r"messages\[1\].weight must be 0 or 1, not 0.5"),
        (function(arguments="{"), r"messages\[1\].tool_calls\[0\].function.arguments is not JSON"),
        (function(arguments='{"x": 1e999}'), "function.arguments is not JSON .1e999 is too large a number"),
        (change(1, weight=float("nan")), "line 2: is not JSON: NaN is not a number"),
        (function(arguments="[1]"), "function.arguments, parsed, must be an object"),
        (function(name="a b"), "function.name 'a b' is not up to 64"),
        (change(2, tool_call_id="x"), r"messages\[2\].tool_call_id 'x' is not that of a call waiting .*'call_1'"),
        (lambda r: r["messages"].pop(2), r"messages\[3\]: no tool message yet for the calls 'call_1'"),
        (change(4, content=[]), r"messages\[4\].content is empty"),
        (change(5, content=""), r"messages\[5\].content is empty"),
    ],
)
def test_a_wrong_line_is_found(native, tmp_path, edit, change, message):
    export(native, tmp_path / "tune.jsonl", "openai")
    edit(tmp_path / "tune.jsonl", change, line=1)
    with pytest.raises(DataError, match=message) as error:
        list(read_openai(tmp_path / "tune.jsonl"))
    assert str(error.value).startswith(f"{tmp_path / 'tune.jsonl'}, line 2: ")


def test_a_sharegpt_file_is_none(oracle, tmp_path):
    export(oracle, tmp_path / "cold.jsonl", "sharegpt")
    with pytest.raises(DataError, match="line 1: .* has no 'messages'"):
        list(read_openai(tmp_path / "cold.jsonl"))
