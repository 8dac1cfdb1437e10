"""Files as other tools write them: columns of pandas and polars, base64 in lines, URLs, conversations, long values."""

import base64
import json
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from deepeyes_env import Sample
from deepeyes_env.data import load, tsv, write_jsonl, write_parquet
from deepeyes_env.errors import DataError, RowError
from tests.images.image_files import PHOTO, encoded

IMAGE = encoded(PHOTO[:8, :8])
BASE64 = base64.b64encode(IMAGE).decode()
TEXT = pa.string()
COLUMNS: dict[str, tuple[Any, pa.DataType]] = {
    "data_source": ("vstar", TEXT),
    "prompt": (
        [{"role": "user", "content": "<image>\nColour?"}],
        pa.list_(pa.struct({"role": TEXT, "content": TEXT})),
    ),
    "images": ([{"bytes": IMAGE, "path": None}], pa.list_(pa.struct({"bytes": pa.binary(), "path": TEXT}))),
    "ability": ("vl", TEXT),
    "env_name": ("visual_toolbox_v2", TEXT),
    "reward_model": ({"ground_truth": "red", "style": "rule"}, pa.struct({"ground_truth": TEXT, "style": TEXT})),
    "extra_info": ({"question": "Colour?", "answer": "red"}, pa.struct({"question": TEXT, "answer": TEXT})),
}


def parquet(folder, **changes):
    columns = COLUMNS | changes
    arrays = {name: pa.array([value, value], type=kind) for name, (value, kind) in columns.items()}
    pq.write_table(pa.table(arrays), folder / "x.parquet")
    return folder / "x.parquet"


CATEGORY = pa.dictionary(pa.int8(), TEXT)


@pytest.mark.parametrize(
    "kind", [CATEGORY, pa.dictionary(pa.uint32(), pa.large_string()), pa.string_view(), pa.large_string()]
)
def test_text_columns_of_any_kind(tmp_path, kind):
    changes = {name: (COLUMNS[name][0], kind) for name in ("data_source", "ability", "env_name")}
    sample = load(parquet(tmp_path, **changes))[1]
    assert (sample.data_source, sample.env_name, sample.metadata["ability"]) == ("vstar", "visual_toolbox_v2", "vl")


@pytest.mark.parametrize("kind", [TEXT, pa.large_string(), CATEGORY])
def test_texts_within_lists_and_structs(tmp_path, kind):
    prompt = (COLUMNS["prompt"][0], pa.large_list(pa.struct({"role": kind, "content": kind})))
    reward = (COLUMNS["reward_model"][0], pa.struct({"ground_truth": kind, "style": kind}))
    sample = load(parquet(tmp_path, prompt=prompt, reward_model=reward, env_name=(None, TEXT)))[0]
    assert (sample.question, sample.answer) == ("<image>\nColour?", "red")


def test_pandas_categories(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pq.read_table(parquet(tmp_path)).to_pandas()
    for name in ("data_source", "ability", "env_name"):
        frame[name] = frame[name].astype("category")
    assert isinstance(frame["ability"].dtype, pandas.CategoricalDtype)
    frame.to_parquet(tmp_path / "x.parquet")
    assert load(tmp_path / "x.parquet")[0].env_name == "visual_toolbox_v2"


def test_polars_categories(tmp_path):
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(parquet(tmp_path))
    kinds = {"data_source": polars.Categorical, "ability": polars.Enum(["vl"])}
    frame.with_columns(*(polars.col(name).cast(kind) for name, kind in kinds.items())).write_parquet(
        tmp_path / "x.parquet"
    )
    assert load(tmp_path / "x.parquet")[0].data_source == "vstar"


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary()])
def test_images_without_a_path(tmp_path, kind):
    images = ([{"bytes": IMAGE}], pa.list_(pa.struct({"bytes": kind})))
    assert load(parquet(tmp_path, images=images))[0].images[0].encoded() == IMAGE


@pytest.mark.parametrize("name", ["{folder}/a.png", "file://{folder}/a.png", f"data:image/png;base64,{BASE64}"])
def test_images_by_path_or_url(tmp_path, name):
    (tmp_path / "a.png").write_bytes(IMAGE)
    name = name.format(folder=tmp_path)
    images = ([{"path": name}], pa.list_(pa.struct({"path": TEXT})))
    (tmp_path / "x.jsonl").write_text(json.dumps({"question": "q", "answer": "a", "images": name}) + "\n")
    for path in (parquet(tmp_path, images=images), tmp_path / "x.jsonl"):
        assert load(path)[0].images[0].encoded() == IMAGE


def test_a_file_url_opens_no_more_than_a_path(tmp_path):
    path = tmp_path / "set" / "x.jsonl"
    path.parent.mkdir()
    (tmp_path / "secret.png").write_bytes(IMAGE)
    path.write_text(json.dumps({"question": "q", "answer": "a", "images": f"file://{tmp_path}/secret.png"}) + "\n")
    with pytest.raises(RowError, match="lies outside of"):
        load(path)[0]


TURNS = [("user", "One?"), ("assistant", "Yes."), ("user", "Two?")]


@pytest.mark.parametrize("env_name", ["visual_toolbox_v2", None])
@pytest.mark.parametrize(
    ("turns", "reason"),
    [
        (TURNS, "prompt has a turn of 'assistant'; an episode begins with one question"),
        (TURNS[::2], "prompt has several turns of the user"),
        ([("system", "a"), ("system", "b"), ("user", "q")], "prompt has several turns of the system"),
    ],
)
def test_no_turn_of_a_conversation_is_dropped(tmp_path, env_name, turns, reason):
    prompt = ([{"role": role, "content": text} for role, text in turns], COLUMNS["prompt"][1])
    with pytest.raises(RowError, match=f"row 0: {reason}"):
        load(parquet(tmp_path, prompt=prompt, env_name=(env_name, TEXT)))[0]


@pytest.mark.parametrize("metadata", ["scraped 2024", '{"split": "train"}', "", None])
def test_extra_info_of_other_tools(tmp_path, metadata):
    extra = {"question": "Colour?", "answer": "red", "id": "img_1", "metadata": metadata, "options": "A. red B. blue"}
    first, second = load(parquet(tmp_path, extra_info=(extra, pa.struct(dict.fromkeys(extra, TEXT)))))
    assert (first.id, second.id) == ("x:0", "x:1")
    assert first.metadata["id"] == "img_1"
    assert first.metadata.get("metadata") == metadata
    assert (first.options, first.metadata["options"]) == ((), "A. red B. blue")


def test_our_own_rows_are_known_again(tmp_path):
    sample = Sample("mine", "Colour?", "red", IMAGE, metadata={"n": 1})
    write_parquet([sample], tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    kind = pa.dictionary(pa.int8(), TEXT)
    at = table.schema.get_field_index("ability")
    pq.write_table(table.set_column(at, "ability", table["ability"].cast(kind)), tmp_path / "x.parquet")
    assert load(tmp_path / "x.parquet")[0] == sample


IN_LINES = f"{BASE64[:76]}\n{BASE64[76:]}"


@pytest.mark.parametrize("cell", [IN_LINES, f" {BASE64} ", f"data:image/png;base64,{BASE64}", json.dumps([IN_LINES])])
def test_base64_with_line_breaks_and_blanks(tmp_path, cell):
    rows = [["index", "image", "question", "answer"], ["0", cell, "q", "a"]]
    (tmp_path / "x.tsv").write_bytes(b"".join(map(tsv.join_record, rows)))
    assert load(tmp_path / "x.tsv")[0].images[0].encoded() == IMAGE


LONG = "x" * 400_000 + "\nmore"
RECORD = {"question": "q", "answer": "a", "images": "a.png"}
ROW = {"index": "0", "image": BASE64, "question": "q", "answer": "A", "A": "red", "B": "blue"}


@pytest.mark.parametrize(
    "change",
    [{"id": 5, "question": [LONG]}, {"images": LONG}, {"images": [1, LONG]}, {"metadata": LONG},
     {"metadata": [LONG] * 9},
     {"options": LONG}, {"options": ["b", LONG]}, {"boxes": LONG},
     {"boxes": [[1, 2, 3, LONG]]}, {"env_name": [LONG]},
     {LONG: 1}, {"images": f"data:image/png;base64,{LONG}"}, {"images": f"/{LONG}"}, {"env_name": LONG},
     {"question": "\ud800" + LONG}, {"id": LONG, "boxes": [[3, 2, 1, 0]]}],
)  # fmt: skip
def test_errors_of_jsonl_quote_a_line_at_most(tmp_path, change):
    (tmp_path / "a.png").write_bytes(IMAGE)
    (tmp_path / "x.jsonl").write_text(json.dumps(RECORD | change) + "\n")
    with pytest.raises(DataError) as error:
        load(tmp_path / "x.jsonl")[0]
    assert len(str(error.value)) < 1000
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change",
    [{"answer": LONG}, {"image": "7\n" * 9}, {"image": LONG}, {"image": f"[{LONG}"}, {"A": LONG, "answer": "C"}],
)
def test_errors_of_tsv_quote_a_line_at_most(tmp_path, change):
    record = ROW | change
    (tmp_path / "x.tsv").write_bytes(tsv.join_record(record) + tsv.join_record(record.values()))
    with pytest.raises(DataError) as error:
        load(tmp_path / "x.tsv")[0]
    assert len(str(error.value)) < 1000
    assert "\n" not in str(error.value)


WIDE = pa.struct({f"{LONG[:2000]}{i}": TEXT for i in range(9)})


@pytest.mark.parametrize(
    "read",
    [
        lambda folder: load(parquet(folder, prompt=([{"role": LONG, "content": "q"}], COLUMNS["prompt"][1])))[0],
        lambda folder: load(parquet(folder, images=(None, WIDE))),
        lambda folder: load([{"question": "q", "answer": "a", LONG: 1, "images": IMAGE}]),
        lambda folder: load([{"question": LONG.split(), "answer": "a", "images": IMAGE}]),
        lambda folder: write_jsonl([Sample(LONG, " ", "a", IMAGE)], folder / "y.jsonl"),
    ],
)
def test_other_errors_quote_a_line_at_most(tmp_path, read):
    with pytest.raises(DataError) as error:
        read(tmp_path)
    assert len(str(error.value)) < 1000
    assert "\n" not in str(error.value)
