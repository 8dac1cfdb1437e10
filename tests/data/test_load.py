"""``load``: what it takes, what it says to what it does not take."""

import io
import logging
import re
import sys
from pathlib import Path

import pytest
from PIL import Image as PILImage

from deepeyes_env.core import Sample
from deepeyes_env.data import (
    Dataset,
    JSONLDataset,
    ParquetDataset,
    TSVDataset,
    VStarDataset,
    load,
    write_jsonl,
    write_parquet,
    write_tsv,
    write_vstar,
)
from deepeyes_env.errors import DataError, RowError
from deepeyes_env.extras import install_command


def samples(count: int = 3) -> list[Sample]:
    buffer = io.BytesIO()
    PILImage.new("RGB", (20, 20)).save(buffer, "PNG")
    metadata = {"category": "direct_attributes"}
    return [
        Sample(f"{i}", "q", "a", buffer.getvalue(), options=("a", "b"), data_source="vstar", metadata=metadata)
        for i in range(count)
    ]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write_parquet(samples(), tmp_path / "train.parquet")
    write_parquet(samples(), tmp_path / "shards" / "0.PARQUET".lower())
    write_tsv(samples(), tmp_path / "hrbench.tsv")
    write_jsonl(samples(), tmp_path / "mine.jsonl")
    write_vstar(samples(), tmp_path / "vstar")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("train.parquet", ParquetDataset),
        ("shards", ParquetDataset),
        ("hrbench.tsv", TSVDataset),
        ("mine.jsonl", JSONLDataset),
        ("vstar", VStarDataset),
    ],
)
@pytest.mark.parametrize("as_text", [True, False])
def test_files(root: Path, name: str, kind: type, as_text: bool) -> None:
    source = str(root / name) if as_text else root / name
    dataset = load(source, on_error="skip")
    assert isinstance(dataset, kind)
    assert isinstance(dataset, Dataset)
    assert [sample.answer for sample in dataset] == ["a"] * 3
    assert dataset[2] == list(dataset)[2]
    assert getattr(dataset, "view", None) is None
    assert load(dataset) is dataset


def test_sequences_of_samples() -> None:
    assert list(load(samples())) == samples()
    with pytest.raises(RowError, match="list, row 1: is int, not a Sample"):
        load([*samples(1), 3])  # type: ignore[list-item]
    with pytest.raises(DataError, match="list: has no samples"):
        load([])


@pytest.mark.parametrize("source", [3, None, (sample for sample in samples())])
def test_other_types(source: object) -> None:
    with pytest.raises(DataError, match=r"the name of the data set is empty; accepted: .*\.parquet"):
        load("")
    with pytest.raises(TypeError, match=r"cannot make a data set of .*accepted: .*\.parquet"):
        load(source)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "problem", "near"),
    [
        ("trian.parquet", "no such file or folder", "train.parquet"),
        ("visual_serach", "no such file or folder", "visual_search"),
        ("patern_search", "no such file or folder", "pattern_search"),
        ("v-star", "no such file or folder", "vstar"),
        ("mine.json", "unknown kind '.json'", "mine.jsonl"),
    ],
)
def test_paths_that_name_nothing(root: Path, name: str, problem: str, near: str) -> None:
    (root / "mine.json").write_text("{}")
    with pytest.raises(DataError) as caught:
        load(root / name)
    message = str(caught.value)
    assert str(root / name) in message
    assert problem in message
    assert near in message.partition("Did you mean ")[2].partition("?")[0]
    assert "a .tsv file (VLMEvalKit)" in message


def test_folder_that_holds_a_data_set_one_level_below(root: Path) -> None:
    (root / "train.parquet").unlink()
    with pytest.raises(DataError, match="holds no .parquet file and is not a V. folder. Did you mean .*shards"):
        load(root)


def test_nothing_near(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder. Accepted"):
        load(tmp_path / "none" / "x.parquet")


def test_options_are_for_the_built_in_task(root: Path) -> None:
    with pytest.raises(TypeError, match=r"train\.parquet takes no options, got size"):
        load(root / "train.parquet", size=3)


def test_on_error_is_checked(root: Path) -> None:
    with pytest.raises(ValueError, match="on_error='ignore': must be one of 'raise', 'skip'"):
        load(root / "mine.jsonl", on_error="ignore")  # type: ignore[arg-type]


def test_all_rows_bad(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("{}\n{}\n")
    assert len(load(tmp_path / "x.jsonl")) == 2
    with pytest.raises(DataError, match=r"x\.jsonl: has no samples; all 2 rows were bad"):
        load(tmp_path / "x.jsonl", on_error="skip")


def test_skipped_rows_are_counted_by_reason(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = root / "mine.jsonl"
    bad = [f'{{"id": "{i}", "question": "q", "answer": "{i}", "images": "a", "options": ["x"]}}\n' for i in range(3)]
    path.write_text(path.read_text() + "".join(bad) + "[]\n")
    with caplog.at_level(logging.WARNING, "deepeyes_env.data"):
        assert len(load(path, on_error="skip")) == 3
    assert len(caplog.records) == 1
    assert "left out 4 of 7 rows" in caplog.text
    assert "3 x sample … answer … is not one of the options …" in caplog.text.replace(":", "")
    assert "1 x must be a JSON object, not list" in caplog.text


def test_what_is_wrong_with_a_single_row_is_said_in_full(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = root / "mine.jsonl"
    path.write_text(path.read_text() + '{"question": "q", "answer": "blue", "images": "a", "options": ["red"]}\n')
    with caplog.at_level(logging.WARNING, "deepeyes_env.data"):
        load(path, on_error="skip")
    assert "'blue'" in caplog.text


def test_the_easy_built_in_task() -> None:
    dataset = load("pattern_search", split="test", length=20)
    assert len(dataset) == 20
    assert {sample.metadata["task"] for sample in dataset} == {"attribute"}
    assert all(2 <= len(sample.metadata["objects"]) <= 3 for sample in dataset)
    assert dataset[3] == load("pattern_search", split="test")[3]
    assert dataset[3] != load("pattern_search")[3]


def test_built_in_task_takes_options() -> None:
    dataset = load("visual_search", length=4, seed=3)
    assert len(dataset) == 4
    assert load("visual_search", length=4, seed=3)[1].id == dataset[1].id


def test_missing_pyarrow_names_the_extra(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=re.escape(f"pyarrow is not installed; run: {install_command('data')}")):
        load(root / "train.parquet")


class MapStyle:
    """Rows by number and nothing else, as PyTorch's data sets have them."""

    def __init__(self, *rows: object) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> object:
        return self.rows[index]


ROW = {"question": "What is it?", "answer": "a", "images": PILImage.new("RGB", (64, 64)), "options": ["a", "b"]}


def test_a_map_style_data_set_of_mappings_is_played() -> None:
    source = MapStyle(ROW, {**ROW, "id": "second", "boxes": None, "metadata": {"split": "test"}}, samples(1)[0])
    dataset = load(source)
    assert [sample.id for sample in dataset] == ["0", "second", samples(1)[0].id]
    assert dataset[0].images[0].size == (64, 64)
    assert dataset[1].metadata == {"split": "test"}
    assert load([ROW])[0].options == ("a", "b")
    with pytest.raises(IndexError):
        dataset[3]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (3, "is int, not a Sample or a mapping"),
        ({"question": "What?", "answer": "a"}, "has no images; it has 'question', 'answer'"),
        ({**ROW, "anwser": "a"}, "answer"),
        ({**ROW, "answer": 3}, "'answer' must be text, not 3"),
        ({**ROW, "answer": "c"}, "is not one of the options"),
    ],
)
def test_rows_of_a_map_style_data_set_that_are_no_samples(row: object, reason: str) -> None:
    with pytest.raises(RowError, match=f"row 1: .*{reason}"):
        load(MapStyle(ROW, row))[1]
