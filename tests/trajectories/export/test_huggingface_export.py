"""The parquet file for ``datasets``: features, round trip, and what a reader finds wrong."""

import json
from dataclasses import replace

import pytest

from deepeyes_env.errors import DataError
from deepeyes_env.trajectories.export import conversation_of, export
from deepeyes_env.trajectories.export.huggingface import read_huggingface

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def spoken(conversation):
    """The conversation as the file gives it back: calls inside the texts."""
    messages = [replace(m, text=m.written or m.text, calls=(), call_id="") for m in conversation.messages]
    return replace(conversation, messages=tuple(messages))


@pytest.mark.parametrize("run", ["noisy", "native"])
def test_it_comes_back(run, tmp_path, plainly, request):
    trajectories = request.getfixturevalue(run)
    export(trajectories, tmp_path / "run.parquet", "huggingface")
    read = [plainly(conversation) for conversation in read_huggingface(tmp_path / "run.parquet")]
    assert read == [plainly(spoken(conversation_of(trajectory))) for trajectory in trajectories]


def test_the_schema_tells_datasets_of_images(oracle, tmp_path):
    export(oracle, tmp_path / "run.parquet", "huggingface")
    info = json.loads(pq.read_schema(tmp_path / "run.parquet").metadata[b"huggingface"])
    text = {"dtype": "string", "_type": "Value"}
    features = info["info"]["features"]
    assert features["images"] == [{"_type": "Image"}]
    assert features["messages"] == [{"role": text, "content": [{"type": text, "text": text}]}]
    assert features["correct"] == {"dtype": "bool", "_type": "Value"}
    assert features["reward"] == {"dtype": "float64", "_type": "Value"}
    assert list(features) == pq.read_schema(tmp_path / "run.parquet").names


def test_datasets_sees_images(noisy, tmp_path):
    datasets = pytest.importorskip("datasets")
    export(noisy, tmp_path / "run.parquet", "huggingface")
    rows = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "run.parquet"), split="train", cache_dir=str(tmp_path / "cache")
    )
    assert rows[0]["images"][0].size == noisy[0].view_size


def test_rows_hold_the_facts_of_the_episode(noisy, tmp_path):
    export(noisy, tmp_path / "run.parquet", "huggingface")
    for row, trajectory in zip(pq.read_table(tmp_path / "run.parquet").to_pylist(), noisy, strict=True):
        assert row["reward"] == trajectory.reward
        assert row["correct"] == (trajectory.reward_terms["acc"].raw == 1)
        assert row["prediction"] == trajectory.answer
        assert row["options"] == list(trajectory.sample.options)
        assert json.loads(row["metadata"])["episode"] == trajectory.metadata["episode"]
        joined = "".join(message["content"] for message in row["text_messages"])
        parts = [part["type"] for message in row["messages"] for part in message["content"]]
        assert joined.count("<image>") == parts.count("image") == len(row["images"]) == trajectory.image_count


def test_what_no_judge_saw_is_neither_right_nor_wrong(oracle, tmp_path):
    export([replace(oracle[0], reward_terms={}, correct=None)], tmp_path / "run.parquet", "huggingface")
    assert pq.read_table(tmp_path / "run.parquet")["correct"].to_pylist() == [None]


def rewrite(path, change, metadata=True):
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows[1])
    schema = table.schema if metadata else table.schema.remove_metadata()
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)


def message(number, **fields):
    return lambda row: row["messages"][number].update(fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.update(images=[]), r"row 1: messages\[1\].content\[0\]: an image for which images has none"),
        (lambda r: r["images"].append(r["images"][0]), "row 1: images has 1 more images than messages has parts"),
        (lambda r: r["images"][0].update(bytes=None), r"row 1: images\[0\] has no bytes"),
        (lambda r: r["images"][0].update(bytes=b"no image"), r"row 1: images\[0\]: image: is not an image"),
        (lambda r: r.update(tools=None), "row 1: tools is null"),
        (lambda r: r.update(tools="x"), "row 1: tools is not JSON"),
        (message(1, role="assistant"), r"row 1: messages\[1\].content\[0\]: an image .* where there can be none"),
        (message(1, role="tool"), r"row 1: text_messages\[1\] differs"),
        (message(2, content=[]), r"row 1: messages\[2\] has no content"),
        (message(2, content=[{"type": "video", "text": None}]), r"messages\[2\].content\[0\] must be an image or"),
        (message(2, content=[{"type": "text", "text": "<image>"}]), r"messages\[2\].content\[0\]: <image> in a text"),
        (lambda r: [r[key].pop() for key in ("messages", "text_messages")], "and end with the assistant's"),
        (lambda r: [r[key].pop(2) for key in ("messages", "text_messages")], "role 'user' after 'user'"),
        (lambda r: r["text_messages"].pop(), "row 1: text_messages has 4 messages, messages has 5"),
    ],
)
def test_a_wrong_row_is_found(oracle, tmp_path, change, message):
    export([t for t in oracle if len(t.turns) == 2], tmp_path / "run.parquet", "huggingface")
    rewrite(tmp_path / "run.parquet", change)
    with pytest.raises(DataError, match=message):
        list(read_huggingface(tmp_path / "run.parquet"))


def test_a_file_without_image_features_is_found(oracle, tmp_path):
    export(oracle, tmp_path / "run.parquet", "huggingface")
    rewrite(tmp_path / "run.parquet", lambda row: None, metadata=False)
    with pytest.raises(DataError, match="does not say that images are Image features"):
        list(read_huggingface(tmp_path / "run.parquet"))


def test_another_file_is_found(oracle, tmp_path):
    path = tmp_path / "run.parquet"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="run.parquet"):
        list(read_huggingface(path))
    pq.write_table(pa.table({"id": ["a"]}), path)
    with pytest.raises(DataError, match="lacks the columns messages, text_messages, images"):
        list(read_huggingface(path))
    export(oracle, path, "huggingface")
    table = pq.read_table(path)
    pq.write_table(table.set_column(table.schema.get_field_index("reward"), "reward", pa.array(["1"] * 6)), path)
    with pytest.raises(DataError, match="column 'reward' is string, must be double"):
        list(read_huggingface(path))
    pq.write_table(table.slice(0, 0), path)
    with pytest.raises(DataError, match="has no rows"):
        list(read_huggingface(path))
    with pytest.raises(DataError, match="cannot be read"):
        list(read_huggingface(tmp_path / "gone.parquet"))
