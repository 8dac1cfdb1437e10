"""The DeepEyes parquet format: round trips, foreign rows, streaming, bad rows."""

import io
import logging
import pickle
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from deepeyes_env.core import Sample
from deepeyes_env.data import ParquetDataset, parquet, write_parquet
from deepeyes_env.errors import DataError, RowError
from deepeyes_env.images import ImageRef
from deepeyes_env.prompt_messages import PromptMessage

FIELDS = (
    "id",
    "question",
    "answer",
    "images",
    "options",
    "boxes",
    "box_images",
    "env_name",
    "data_source",
    "metadata",
    "messages",
)


def jpeg(color: int = 0, size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", size, (color % 256, 90, 30)).save(buffer, "JPEG")
    return buffer.getvalue()


def noise(seed: int, size: int) -> bytes:
    """A PNG that is about ``3 * size**2`` bytes, whatever compresses it."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()


def row(**changes: Any) -> dict[str, Any]:
    """A row as the original's scripts write it."""
    return {
        "data_source": "vstar",
        "prompt": [{"role": "system", "content": "SYSTEM"}, {"role": "user", "content": "<image>\nColour?\nTHINK"}],
        "images": [{"bytes": jpeg(), "path": None}],
        "ability": "vl",
        "env_name": "visual_toolbox_v2",
        "reward_model": {"ground_truth": "red", "style": "rule"},
        "extra_info": {"question": "Colour?", "answer": "red", "index": 7, "split": "train"},
    } | changes


def foreign(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path, **options)
    return path


def many(count: int) -> list[Sample]:
    return [Sample(f"s{i}", f"Question {i}?", "yes", jpeg(i), env_name="VisualToolbox-v1") for i in range(count)]


def assert_equal(left: Sample, right: Sample) -> None:
    for field in FIELDS:
        assert getattr(left, field) == getattr(right, field), field


texts = st.text(min_size=1).filter(str.strip)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
boxes = st.tuples(*[st.floats(0, 10)] * 2, *[st.floats(11, 50)] * 2)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    answer, options = draw(texts), ()
    if draw(st.booleans()):
        options = tuple(draw(st.permutations([answer, *draw(st.lists(st.text(), max_size=3))])))
    images = [jpeg(draw(st.integers(0, 255))) for _ in range(draw(st.integers(1, 2)))]
    marked = draw(st.lists(boxes, max_size=2))
    return Sample(
        id=draw(texts),
        question=draw(texts.filter(lambda text: "<image>" not in text))
        + "<image>" * (len(images) * draw(st.integers(0, 1))),
        answer=answer,
        images=images,
        options=options,
        boxes=tuple(marked),
        box_images=tuple(draw(st.integers(0, len(images) - 1)) for _ in marked),
        env_name=draw(st.sampled_from((None, "", "VisualToolbox-v1", "visual_toolbox_v5"))),
        data_source=draw(st.text()),
        metadata=draw(st.dictionaries(st.text(), json_values, max_size=3)),
        messages=draw(st.lists(st.builds(PromptMessage, st.sampled_from(("system", "user")), st.text()), max_size=3)),
    )


@pytest.mark.integration
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(samples(), min_size=1, max_size=4, unique_by=lambda sample: sample.id))
def test_round_trip(tmp_path: Path, batch: list[Sample]) -> None:
    path = tmp_path / "x.parquet"
    write_parquet(batch, path, row_group_size=2)
    for before, after in zip(batch, ParquetDataset(path), strict=True):
        assert_equal(before, after)
        assert [image.encoded() for image in before.images] == [image.encoded() for image in after.images]


def test_writes_the_format_of_the_original(tmp_path: Path) -> None:
    data = jpeg(5)
    path = tmp_path / "x.parquet"
    write_parquet([Sample("a", "Colour?", "red", data, env_name="visual_toolbox_v2", data_source="vstar")], path)
    written = pq.read_table(path).to_pylist()[0]
    assert list(written) == ["data_source", "prompt", "images", "ability", "env_name", "reward_model", "extra_info"]
    assert written["prompt"][1] == {"role": "user", "content": "<image>\nColour?"}
    assert written["images"] == [{"bytes": data, "path": None}]
    assert written["env_name"] == "visual_toolbox_v2"
    assert written["reward_model"] == {"ground_truth": "red", "style": "rule"}
    assert {key: written["extra_info"][key] for key in ("question", "answer", "index")} == {
        "question": "Colour?",
        "answer": "red",
        "index": 0,
    }


def test_pixels_become_png(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)
    write_parquet([Sample("a", "q", "b", pixels)], tmp_path / "x.parquet")
    image = ParquetDataset(tmp_path / "x.parquet")[0].images[0]
    assert image.encoded().startswith(b"\x89PNG")
    assert np.array_equal(image.pixels(), pixels)


def test_tool_row_asks_extra_info(tmp_path: Path) -> None:
    sample = ParquetDataset(foreign(tmp_path / "train.parquet", [row()]))[0]
    assert (sample.id, sample.question, sample.answer) == ("train:0", "Colour?", "red")
    assert (sample.env_name, sample.data_source) == ("visual_toolbox_v2", "vstar")
    assert sample.metadata == {"index": 7, "split": "train", "ability": "vl", "style": "rule"}
    assert sample.images[0].encoded() == jpeg()
    assert sample.messages == (PromptMessage("system", "SYSTEM"), PromptMessage("user", "<image>\nColour?\nTHINK"))


def test_a_rows_own_prompt_is_written_again_word_for_word(tmp_path: Path) -> None:
    before = ParquetDataset(foreign(tmp_path / "train.parquet", [row()]))[0]
    write_parquet([before], tmp_path / "again.parquet")
    assert pq.read_table(tmp_path / "again.parquet").to_pylist()[0]["prompt"] == row()["prompt"]
    assert_equal(before, ParquetDataset(tmp_path / "again.parquet")[0])


@pytest.mark.parametrize("env_name", [None, ""])
def test_plain_row_keeps_its_prompt(tmp_path: Path, env_name: str | None) -> None:
    sample = ParquetDataset(foreign(tmp_path / "x.parquet", [row(env_name=env_name)]))[0]
    assert sample.env_name is None
    assert sample.question == "<image>\nColour?\nTHINK"
    assert sample.metadata["system_prompt"] == "SYSTEM"
    assert sample.messages == ()


def test_fallbacks(tmp_path: Path) -> None:
    """No extra_info.question, no ground truth, no env_name column, boxes from a labeller, a path for an image."""
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.jpg").write_bytes(jpeg(9))
    extra = {"answer": "blue", "bbox": [[1, 2, 3, 4]], "tools_kwargs": {"zoom": {"image": "x" * 100}}}
    changed = row(
        extra_info=extra,
        reward_model={"ground_truth": None, "style": "model"},
        images=[{"bytes": None, "path": "images/a.jpg"}],
    )
    del changed["env_name"]
    sample = ParquetDataset(foreign(tmp_path / "x.parquet", [changed]))[0]
    assert (sample.question, sample.answer, sample.env_name) == ("<image>\nColour?\nTHINK", "blue", "")
    assert sample.boxes == ((1, 2, 3, 4),)
    assert sample.images[0].encoded() == jpeg(9)
    assert sample.metadata == {"ability": "vl", "style": "model"}


def test_editing_the_env_name_column_moves_a_file_we_wrote(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_parquet([Sample("a", "q", "b", jpeg())], path)
    table = pq.read_table(path)
    at = table.schema.get_field_index("env_name")
    pq.write_table(table.set_column(at, "env_name", pa.array(["visual_toolbox_v5"])), path)
    assert ParquetDataset(path)[0].env_name == "visual_toolbox_v5"


def test_folder_of_shards(tmp_path: Path) -> None:
    everything = many(10)
    for shard, part in enumerate((everything[:3], everything[3:7], everything[7:])):
        write_parquet(part, tmp_path / f"{shard}.parquet", row_group_size=2)
    dataset = ParquetDataset(tmp_path)
    assert [sample.id for sample in dataset] == [f"s{i}" for i in range(10)]
    assert [dataset[i].id for i in (9, 0, 4, 3, -1)] == ["s9", "s0", "s4", "s3", "s9"]
    with pytest.raises(IndexError):
        dataset[10]


class Recorder:
    """Counts the batches that pyarrow decodes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.rows: list[int] = []
        original = pq.ParquetFile.iter_batches

        def iter_batches(file: pq.ParquetFile, *args: Any, **options: Any) -> Iterator[pa.RecordBatch]:
            for batch in original(file, *args, **options):
                self.rows.append(batch.num_rows)
                yield batch

        monkeypatch.setattr(pq.ParquetFile, "iter_batches", iter_batches)


def test_iteration_streams(tmp_path: Path) -> None:
    """Memory stays at a few row groups while a file of fifty is gone through; every byte is still right."""
    path, groups, per_group = tmp_path / "x.parquet", 50, 4
    images = [noise(seed, 100) for seed in range(groups * per_group)]
    write_parquet((Sample(f"s{i}", "q", "a", data) for i, data in enumerate(images)), path, row_group_size=per_group)
    group_bytes = pq.read_metadata(path).row_group(0).total_byte_size
    dataset = ParquetDataset(path)
    before, peak = pa.total_allocated_bytes(), 0
    for sample, data in zip(dataset, images, strict=True):
        assert sample.images[0].encoded() == data
        peak = max(peak, pa.total_allocated_bytes() - before)
    # The blocks kept, the one being built and pyarrow's buffers.
    assert 0 < peak < (parquet.CACHED_BLOCKS + 4) * group_bytes < path.stat().st_size / 5


def test_writing_streams(tmp_path: Path) -> None:
    """When the last sample is asked for, the row groups before are out of memory."""
    data, peak, before = [noise(seed, 100) for seed in range(40)], 0, pa.total_allocated_bytes()

    def source() -> Iterator[Sample]:
        nonlocal peak
        for i, image in enumerate(data):
            peak = max(peak, pa.total_allocated_bytes() - before)
            yield Sample(f"s{i}", "q", "a", image)

    write_parquet(source(), tmp_path / "x.parquet", row_group_size=2)
    assert peak < 6 * len(data[0]) < (tmp_path / "x.parquet").stat().st_size / 5


def test_iteration_decodes_each_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(many(20), tmp_path / "x.parquet", row_group_size=4)
    recorder = Recorder(monkeypatch)
    assert len(list(ParquetDataset(tmp_path / "x.parquet"))) == 20
    assert recorder.rows == [4] * 5


def test_random_access_decodes_only_its_row_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_parquet(many(40), tmp_path / "x.parquet", row_group_size=4)
    recorder = Recorder(monkeypatch)
    dataset = ParquetDataset(tmp_path / "x.parquet")
    assert dataset[22].id == "s22"
    assert dataset[20].id == "s20"
    assert recorder.rows == [4]


def test_huge_row_group_is_read_in_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = foreign(tmp_path / "x.parquet", [row(images=[{"bytes": noise(i, 60), "path": None}]) for i in range(30)])
    monkeypatch.setattr(parquet, "BLOCK_BYTES", 40_000)
    monkeypatch.setattr(parquet, "LARGE_ROW_GROUP_BYTES", 100_000)
    recorder = Recorder(monkeypatch)
    dataset = ParquetDataset(path)
    assert "write_parquet" in caplog.text
    ids = [f"x:{i}" for i in range(30)]
    assert [sample.id for sample in dataset] == ids
    assert sum(recorder.rows) == 30
    assert max(recorder.rows) <= 4
    assert [dataset[i].images[0].encoded() for i in (25, 3, 4)] == [noise(i, 60) for i in (25, 3, 4)]


def test_writer_closes_row_groups_of_large_images_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BLOCK_BYTES", 3 * len(noise(0, 50)))
    write_parquet((Sample(f"s{i}", "q", "a", noise(i, 50)) for i in range(7)), tmp_path / "x.parquet")
    metadata = pq.read_metadata(tmp_path / "x.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [3, 3, 1]


def test_pickle_and_threads(tmp_path: Path) -> None:
    write_parquet(many(24), tmp_path / "x.parquet", row_group_size=3)
    dataset = ParquetDataset(tmp_path / "x.parquet")
    assert dataset[5].id == "s5"
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy[5].id == "s5"
    found: dict[int, Sequence[str]] = {}

    def read(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(24)
        found[seed] = [copy[int(i)].id for i in order] if seed else [sample.id for sample in copy]

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(1, 4):
        assert found[seed] == [f"s{i}" for i in np.random.default_rng(seed).permutation(24)]
    assert found[0] == [f"s{i}" for i in range(24)]


BAD_ROWS = {
    "no images": (row(images=[]), "has no images"),
    "truncated header": (row(images=[{"bytes": b"\xff\xd8\xff", "path": None}]), "image"),
    "neither bytes nor path": (row(images=[{"bytes": None, "path": None}]), "neither bytes nor a path"),
    "file missing": (row(images=[{"bytes": None, "path": "none.jpg"}]), "none.jpg"),
    "placeholders": (
        row(env_name="", prompt=[{"role": "user", "content": "<image><image>"}]),
        "2 <image> placeholders",
    ),
    "no answer": (row(reward_model={"ground_truth": None, "style": ""}, extra_info={"question": "q"}), "has no answer"),
    "unknown toolbox": (row(env_name="visual_toolbox_v22"), "did you mean 'VisualToolbox-v2'?"),
    "blank question": (row(extra_info={"question": " ", "answer": "a"}), "question is blank"),
}


@pytest.mark.parametrize("name", BAD_ROWS)
def test_bad_row_names_file_row_and_reason(tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    bad, reason = BAD_ROWS[name]
    path = foreign(tmp_path / "x.parquet", [row(), bad, row()], row_group_size=1)
    dataset = ParquetDataset(path)
    assert dataset[0].answer == "red"
    with pytest.raises(DataError, match="x.parquet, row 1: ") as caught:
        dataset[1]
    assert reason in str(caught.value)
    assert caught.value.__cause__ is not None
    with caplog.at_level(logging.WARNING):
        skipping = ParquetDataset(path, on_error="skip")
    assert [sample.id for sample in skipping] == ["x:0", "x:2"]
    assert [(skipped.file, skipped.row) for skipped in skipping.skipped] == [(str(path), 1)]
    assert reason in skipping.skipped[0].reason
    assert len(caplog.records) == 1
    assert "left out 1 of 3 rows" in caplog.text


def test_damaged_row_group(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_parquet([Sample(f"s{i}", "q", "a", noise(i, 50)) for i in range(6)], path, row_group_size=2)
    column = pq.read_metadata(path).row_group(1).column(3)
    assert column.path_in_schema == "images.list.element.bytes"
    data = bytearray(path.read_bytes())
    data[column.data_page_offset : column.data_page_offset + 200] = b"\xff" * 200
    path.write_bytes(data)
    dataset = ParquetDataset(path)
    assert (dataset[0].id, dataset[5].id) == ("s0", "s5")
    with pytest.raises(RowError, match="row 2: row group 1 cannot be read"):
        dataset[2]
    assert [sample.id for sample in ParquetDataset(path, on_error="skip")] == ["s0", "s1", "s4", "s5"]


def test_files_that_are_not_of_the_format(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(b"not parquet")
    with pytest.raises(DataError, match=r"x\.parquet: cannot be read as parquet"):
        ParquetDataset(path)
    pq.write_table(pa.table({"a": [1], "b": [2]}), path)
    with pytest.raises(DataError, match="lacks the columns prompt, images, reward_model; it has 'a', 'b'"):
        ParquetDataset(path)
    foreign(path, [row(prompt="Colour?")])
    with pytest.raises(DataError, match="column 'prompt' is string, must be a list of {role, content}"):
        ParquetDataset(path)


def test_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    write_parquet(many(2), path)
    before = path.read_bytes()
    for bad in (
        Sample("s0", "again", "a", jpeg()),
        Sample("b", " ", "a", jpeg()),
        Sample("b", "lone \ud800", "a", jpeg()),
        Sample("b", "q", "a", jpeg(), metadata={"x": object()}),
        Sample("b", "q", "a", ImageRef(tmp_path / "none.jpg")),
    ):
        with pytest.raises(DataError, match=f"cannot write sample '{bad.id}'"):
            write_parquet([*many(2), bad], path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
