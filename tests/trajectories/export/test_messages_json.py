"""Messages of role and content (DeepEyesV2's SFT JSON): round trip, its entry for LLaMA-Factory, and what is wrong."""

import json

import pytest
from PIL import Image

from deepeyes_env.errors import DataError, UsageError
from deepeyes_env.trajectories.export import conversation_of, export
from deepeyes_env.trajectories.export.messages_json import ENTRY, read_messages

USER, ASSISTANT = {"role": "user", "content": "<image>What?"}, {"role": "assistant", "content": "Red."}


@pytest.fixture
def write(tmp_path):
    """Return a function that writes one conversation to a file, with a picture beside it."""
    Image.new("RGB", (56, 56), "red").save(tmp_path / "a.png")

    def write(*messages, images=("a.png",), **fields):
        path = tmp_path / "a.json"
        path.write_text(json.dumps([{"messages": list(messages), "images": list(images), **fields}]))
        return path

    return write


def test_round_trip(tmp_path, noisy, plainly):
    kept = [each for each in noisy if each.turns]
    export(kept, tmp_path / "data" / "start.json", "messages")
    read = list(read_messages(tmp_path / "data" / "start.json"))
    assert [plainly(each) for each in read] == [plainly(conversation_of(each)) for each in kept]
    entry = json.loads((tmp_path / "data" / "dataset_info.json").read_text())["start"]
    assert entry == {"file_name": "start.json", **ENTRY}


def test_native_calls_have_no_place(tmp_path, native):
    with pytest.raises(DataError, match="calls beside the text"):
        export(native, tmp_path / "a.json", "messages")


def test_the_name_of_another_data_set_is_refused(tmp_path, noisy):
    (tmp_path / "dataset_info.json").write_text('{"a": {"file_name": "a.jsonl"}}')
    with pytest.raises(UsageError, match=r"a\.jsonl"):
        export(noisy, tmp_path / "a.json", "messages")


def test_others_files_need_neither_names_nor_images(write):
    [read] = read_messages(write({"role": "system", "content": "Look."}, USER, ASSISTANT))
    assert (read.id, read.system, len(read.images)) == ("a-0", "Look.", 1)
    [read] = read_messages(write({"role": "user", "content": "2 + 2?"}, ASSISTANT, images=()))
    assert read.images == ()


@pytest.mark.parametrize(
    ("messages", "told"),
    [
        ((USER,), "pairs"),
        ((), "pairs"),
        ((ASSISTANT, USER), "messages[0].role must be 'user'"),
        ((USER, {"role": "assistant", "content": " "}), "messages[1].content is empty"),
        ((USER, {"role": "assistant", "content": "<image>"}), "<image> in a reply"),
        (({"role": "user", "content": "What?"}, ASSISTANT), "1 more images"),
        (({"role": "user", "content": "<image><image>"}, ASSISTANT), "no image"),
        (({"role": "user", "content": 3}, ASSISTANT), "messages[0].content must be text"),
        (({"content": "What?"}, ASSISTANT), "'role'"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(write, messages, told):
    with pytest.raises(DataError) as error:
        list(read_messages(write(*messages)))
    assert "a.json, item 0: " in str(error.value)
    assert told in str(error.value)


@pytest.mark.parametrize("image", ["gone.png", "../other.png", 3])
def test_images_must_lie_beside_the_file(write, image):
    with pytest.raises(DataError, match=r"images\[0\]"):
        list(read_messages(write(USER, ASSISTANT, images=(image,))))


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", '[{"messages": 1}]', "[NaN]"])
def test_a_file_that_is_none_is_told(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=r"a\.json"):
        list(read_messages(tmp_path / "a.json"))
