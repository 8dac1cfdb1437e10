"""LLaMA-Factory's ShareGPT: written, read back, and what a reader finds wrong."""

import json
from dataclasses import replace

import pytest

from deepeyes_env.conversation import ChatMessage
from deepeyes_env.core import ToolCall
from deepeyes_env.errors import DataError
from deepeyes_env.trajectories.export import conversation_of, export
from deepeyes_env.trajectories.export.conversation import Conversation
from deepeyes_env.trajectories.export.sharegpt import read_sharegpt, reason_to_skip, write_sharegpt


def test_text_comes_back_word_for_word(noisy, tmp_path, plainly):
    done = export(noisy, tmp_path / "cold.jsonl", "sharegpt")
    assert (done.written, done.left_out) == (24, {})
    read = [plainly(conversation) for conversation in read_sharegpt(tmp_path / "cold.jsonl")]
    assert read == [plainly(conversation_of(trajectory)) for trajectory in noisy]


def test_native_calls_come_back(native, tmp_path, plainly):
    export(native, tmp_path / "cold.jsonl", "sharegpt")
    read = [plainly(conversation) for conversation in read_sharegpt(tmp_path / "cold.jsonl")]
    assert read == [plainly(conversation_of(trajectory)) for trajectory in native]
    record = json.loads((tmp_path / "cold.jsonl").read_text().splitlines()[0])
    roles = [turn["from"] for turn in record["conversations"]]
    assert roles == ["human", "function_call", "observation", "gpt"]
    assert record["conversations"][2]["value"] == "<image>\n</tool_response>\n<tool_response>\n<image>"
    assert len(record["images"]) == 3
    assert [tool["type"] for tool in json.loads(record["tools"])] == ["function", "function"]


def test_a_lone_thought_is_written_as_every_release_reads_it(oracle, tmp_path, plainly):
    export(oracle, tmp_path / "cold.jsonl", "sharegpt", calls="native")
    record = json.loads((tmp_path / "cold.jsonl").read_text().splitlines()[0])
    thought, _, call = record["conversations"][1]["value"].partition("\n</think>\n\n")
    assert thought == "<think>\nI look closer at place 1."
    assert json.loads(call) == {"name": "image_zoom_in_tool", "arguments": dict(oracle[0].results[0].call.arguments)}
    read = [plainly(conversation) for conversation in read_sharegpt(tmp_path / "cold.jsonl")]
    assert read == [plainly(conversation_of(trajectory, "native")) for trajectory in oracle]


def calling(said, folder):
    """Write a message that says something and then calls a function; return it as it is in the file."""
    messages = (ChatMessage("user", "?"), ChatMessage("assistant", said, calls=(ToolCall("f", {}, "c"),)))
    write_sharegpt([Conversation("s", messages)], folder / "cold.jsonl")
    return json.loads((folder / "cold.jsonl").read_text())["conversations"][1]["value"]


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("<think> a\nb\t</think>", "<think>\na\nb\n</think>\n\n{}"),
        ("<think></think>", "<think>\n\n</think>\n\n{}"),
        ("<think>a</think>b</think>", "<think>a</think>b</think><tool_call>{}</tool_call>"),
        ("<think>a<think>b</think>", "<think>a<think>b</think><tool_call>{}</tool_call>"),
        ("<think>a</think> b", "<think>a</think> b<tool_call>{}</tool_call>"),
        ("", "{}"),
    ],
)
def test_what_is_said_before_a_call(said, written, tmp_path):
    assert calling(said, tmp_path) == written.replace("{}", '{"name": "f", "arguments": {}}')


@pytest.mark.timeout(20)
def test_spaces_without_end_are_read_once(tmp_path):
    spaces = " " * 40_000
    for said in (f"<think>a{spaces}b", f"<think>{spaces}</think>.{spaces}b"):
        assert spaces in calling(said, tmp_path)


def test_images_are_beside_the_file_once_each(noisy, tmp_path):
    export(noisy, tmp_path / "cold.jsonl", "sharegpt")
    digests = {image.digest for t in noisy for image in conversation_of(t).images}
    files = [path for path in (tmp_path / "images").rglob("*") if path.is_file()]
    assert {path.stem for path in files} == digests
    assert len(files) == len(digests)


def test_other_data_sets_keep_their_entries(oracle, tmp_path):
    (tmp_path / "dataset_info.json").write_text('{"mine": {"file_name": "mine.json"}}')
    export(oracle, tmp_path / "a.jsonl", "sharegpt")
    export(oracle, tmp_path / "b.jsonl", "sharegpt")
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert list(info) == ["mine", "a", "b"]
    assert info["a"] == {
        "file_name": "a.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations", "system": "system", "tools": "tools", "images": "images"},
    }


def test_another_data_sets_entry_of_the_same_name_is_not_replaced(oracle, tmp_path):
    written = '{"identity": {"file_name": "identity.json"}}'
    (tmp_path / "dataset_info.json").write_text(written)
    with pytest.raises(ValueError, match=r"dataset_info.json: .*'identity' is that of 'identity.json'.*identity.jsonl"):
        export(oracle, tmp_path / "identity.jsonl", "sharegpt")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset_info.json"]
    assert (tmp_path / "dataset_info.json").read_text() == written


def test_a_data_set_may_be_written_again(oracle, tmp_path):
    export(oracle, tmp_path / "a.jsonl", "sharegpt")
    export(oracle[:2], tmp_path / "a.jsonl", "sharegpt")
    assert len(list(read_sharegpt(tmp_path / "a.jsonl"))) == 2


def test_entries_that_come_while_a_file_is_written_stay(oracle, tmp_path):
    def trajectories():
        yield oracle[0]
        export(oracle[1:], tmp_path / "b.jsonl", "sharegpt")

    export(trajectories(), tmp_path / "a.jsonl", "sharegpt")
    assert set(json.loads((tmp_path / "dataset_info.json").read_text())) == {"a", "b"}


def test_an_entry_file_that_is_none_is_not_overwritten(oracle, tmp_path):
    (tmp_path / "dataset_info.json").write_text("[1]")
    with pytest.raises(DataError, match=r"dataset_info.json: is not an object .* move it away"):
        export(oracle, tmp_path / "a.jsonl", "sharegpt")
    assert [path.name for path in tmp_path.iterdir()] == ["dataset_info.json"]


def test_a_text_that_would_end_a_call_is_refused(oracle):
    made = conversation_of(oracle[0], "native")
    asking = replace(made.messages[1], calls=(ToolCall("f", {"x": "</tool_call>"}),))
    assert reason_to_skip(made) == ""
    assert "<tool_call>" in reason_to_skip(replace(made, messages=(made.messages[0], asking)))


def drop(key):
    return lambda record: record.pop(key)


def change_turn(number, **fields):
    return lambda record: record["conversations"][number].update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop("images"), "line 2: it has no 'images'; it has 'id', 'conversations'"),
        (drop("system"), "line 2: it has no 'system'"),
        (lambda r: r.update(conversations="hello"), "line 2: conversations must be a list, not 'hello'"),
        (lambda r: r["conversations"].pop(), "conversations has .* messages; it must be pairs"),
        (change_turn(0, **{"from": "user"}), r"conversations\[0\].from must be human or observation, not 'user'"),
        (change_turn(1, value=" "), r"conversations\[1\].value is empty"),
        (change_turn(1, value="<image>"), r"conversations\[1\].value: <image> in a reply"),
        (change_turn(0, value="no picture"), "images has 1 more images than conversations has <image>"),
        (change_turn(0, value="<image><image>"), r"conversations\[2\].value: has an <image> for which images has no"),
        (change_turn(0, value="<image><audio>"), r"conversations\[0\].value: <audio>, and the data set has none"),
        (lambda r: r["images"].append("gone.png"), r"images\[2\]: image .*gone.png: cannot be read"),
        (lambda r: r.update(images=[7]), r"images\[0\] must be text, not 7"),
        (lambda r: r.update(tools="{"), "tools is not JSON"),
        (lambda r: r.update(tools='[{"type": "x"}]'), r"tools\[0\].type must be 'function'"),
        (lambda r: r.update(id=float("inf")), "line 2: is not JSON: Infinity is not a number"),
        (change_turn(1, **{"from": "function_call", "value": "zoom!"}), r"conversations\[1\].value is not JSON"),
        (change_turn(1, **{"from": "function_call", "value": "[]"}), r"conversations\[1\].value holds no call"),
        (change_turn(1, **{"from": "function_call"}), r"conversations\[2\].from must be observation after a function"),
        (change_turn(2, **{"from": "observation"}), r"conversations\[2\]: an observation of 1 results, after 0 calls"),
    ],
)
def test_a_wrong_line_is_found(oracle, tmp_path, edit, change, message):
    two_looks = [t for t in oracle if t.image_count == 2]
    assert len(two_looks) > 1
    export(two_looks, tmp_path / "cold.jsonl", "sharegpt")
    edit(tmp_path / "cold.jsonl", change, line=1)
    with pytest.raises(DataError, match=message) as error:
        list(read_sharegpt(tmp_path / "cold.jsonl"))
    assert str(error.value).startswith(f"{tmp_path / 'cold.jsonl'}, line 2: ")


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (None, "dataset_info.json: cannot be read"),
        ("{}", "dataset_info.json: it has no 'cold'"),
        ('{"cold": {"formatting": "alpaca"}}', "cold.formatting must be 'sharegpt'"),
        ('{"cold": {"formatting": "sharegpt", "file_name": "b.json"}}', "cold.file_name must be 'cold.jsonl'"),
        ('{"cold": {"formatting": "sharegpt", "file_name": "cold.jsonl", "columns": {}}}', "cold.columns must be"),
        ("nothing", "is not an object of data sets"),
    ],
)
def test_a_wrong_entry_is_found(oracle, tmp_path, info, message):
    export(oracle, tmp_path / "cold.jsonl", "sharegpt")
    if info is None:
        (tmp_path / "dataset_info.json").unlink()
    else:
        (tmp_path / "dataset_info.json").write_text(info)
    with pytest.raises(DataError, match=message):
        list(read_sharegpt(tmp_path / "cold.jsonl"))


@pytest.mark.parametrize(("text", "message"), [("", "is empty"), ("[1]\n", "line 1: must be a JSON object, not list")])
def test_another_file_is_found(oracle, tmp_path, text, message):
    export(oracle, tmp_path / "cold.jsonl", "sharegpt")
    (tmp_path / "cold.jsonl").write_text(text)
    with pytest.raises(DataError, match=message):
        list(read_sharegpt(tmp_path / "cold.jsonl"))
