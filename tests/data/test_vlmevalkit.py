"""VLMEvalKit TSV: quoting, images by index, lists of images, bad rows, round trips."""

import base64
import csv
import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from deepeyes_env.core import Sample
from deepeyes_env.data import TSVDataset, tsv, write_tsv
from deepeyes_env.equal_options import twin_mark
from deepeyes_env.errors import DataError, RowError


def png(color: int = 0) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", (12, 9), (color, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def b64(color: int = 0) -> str:
    return base64.b64encode(png(color)).decode()


def row(**changes: str) -> dict[str, str]:
    return {
        "index": "0",
        "question": "Colour?",
        "answer": "B",
        "A": "red",
        "B": "blue",
        "C": "",
        "D": "green",
        "category": "single",
        "image": b64(),
    } | changes


def write(path: Path, rows: list[dict[str, str]], **dialect: Any) -> Path:
    """Write with the standard library's writer, as pandas does."""
    with path.open("w", encoding="utf-8", newline="") as file:
        options = {"delimiter": "\t", "lineterminator": "\n"} | dialect
        writer = csv.DictWriter(file, list(rows[0]), **options)
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_reads_a_row(tmp_path: Path) -> None:
    extras = {"hint": 'a "hint"\n', "split": "", "l2-category": "x", "image_path": "a.jpg"}
    dataset = TSVDataset(write(tmp_path / "HRBench4K.tsv", [row(**extras)]))
    sample = dataset[0]
    assert (sample.id, sample.question, sample.answer) == ("0", "Colour?", "blue")
    assert sample.options == ("red", "blue", "green")
    assert (sample.data_source, sample.env_name) == ("HRBench4K", "")
    assert sample.metadata == {
        "category": "single",
        "hint": 'a "hint"\n',
        "l2-category": "x",
        "image_path": "a.jpg",
        "option_letters": "ABD",  # the cell of C is blank
    }
    assert sample.images[0].encoded() == png()


def test_free_text_answer_and_words_that_pandas_drops(tmp_path: Path) -> None:
    free = {key: value for key, value in row(answer="None").items() if key not in "ABCD"}
    assert TSVDataset(write(tmp_path / "x.tsv", [free]))[0].answer == "None"
    assert TSVDataset(write(tmp_path / "y.tsv", [row(A="None", C="NA")]))[0].options == ("None", "blue", "NA", "green")


def test_images_by_index_are_shared(tmp_path: Path) -> None:
    rows = [row(index="a", image="b"), row(index="b", image=b64(3)), row(index="c", image="b"), row(index="d")]
    dataset = TSVDataset(write(tmp_path / "x.tsv", rows))
    first, second, third, fourth = dataset
    assert first.images[0] is second.images[0] is third.images[0]
    assert first.images[0].encoded() == png(3)
    assert fourth.images[0].encoded() == png(0)


@pytest.mark.parametrize("dump", [json.dumps, repr])
def test_lists_of_images(tmp_path: Path, dump: Any) -> None:
    rows = [row(image=dump([b64(1), b64(2)])), row(index="1", image="0")]
    dataset = TSVDataset(write(tmp_path / "x.tsv", rows))
    assert [image.encoded() for image in dataset[0].images] == [png(1), png(2)]
    assert dataset[1].images == dataset[0].images


def test_fields_beyond_the_limit_of_the_csv_module(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (500, 500, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).save(buffer, "PNG")
    image, limit = base64.b64encode(buffer.getvalue()).decode(), csv.field_size_limit()
    assert len(image) > 4 * limit
    rows = [row(question='Say "a\tb"'), row(index="1", image=image), row(index="2", image=json.dumps([image]))]
    dataset = TSVDataset(write(tmp_path / "x.tsv", rows))
    assert [sample.question for sample in dataset] == ['Say "a\tb"', "Colour?", "Colour?"]
    assert dataset[1].images[0].encoded() == dataset[2].images[0].encoded() == buffer.getvalue()
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize("dialect", [{"lineterminator": "\r\n"}, {"quoting": csv.QUOTE_ALL}])
def test_dialects(tmp_path: Path, dialect: dict[str, Any]) -> None:
    path = write(tmp_path / "x.tsv", [row(), row(index="1\t", question="two\nlines")], **dialect)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes() + b"\n\r\n")
    assert [(sample.id, sample.question) for sample in TSVDataset(path)] == [("0", "Colour?"), ("1\t", "two\nlines")]


def test_pickle(tmp_path: Path) -> None:
    dataset = TSVDataset(write(tmp_path / "x.tsv", [row(), row(index="1", image="0")]))
    assert dataset[1].images[0].encoded() == png()
    copy = pickle.loads(pickle.dumps(dataset))
    assert list(copy) == list(dataset)


def test_reads_only_the_row_that_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = TSVDataset(write(tmp_path / "x.tsv", [row(index=str(i), image=b64(i)) for i in range(20)]))
    split: list[bytes] = []
    original = tsv.split_record

    def split_record(record: bytes) -> list[bytes]:
        split.append(record)
        return original(record)

    monkeypatch.setattr(tsv, "split_record", split_record)
    assert dataset[17].images[0].encoded() == png(17)
    assert {original(record)[0] for record in split} == {b"17"}


BAD_ROWS = [
    (row(index="1", answer="C"), r"answer 'C' is not the letter of an option; the row has A, B, D"),
    (row(index="1", answer="blue"), "answer 'blue' is not the letter"),
    (row(index="1", answer=""), "answer '' is not the letter"),
    (row(index="1", image="7"), "image '7' is neither base64 nor the index of a row"),
    (row(index="1", image="1"), "index '1', to which image refers, holds no image itself"),
    (row(index="1", image=""), "has no image"),
    (row(index="1", image="!" * 100), "is not base64"),
    (row(index="1", image=base64.b64encode(b"x" * 100).decode()), "image"),
    (row(index="1", image="[" + "1, " * 50 + "]"), "is not a list of base64 strings"),
    (row(index="1", image="[" + "(" * 50_000), "is not a list of base64 strings"),
    (row(index="1", image="[__import__('os').getcwd()" + " " * 60 + "]"), "is not a list of base64 strings"),
    (row(index="0"), "index '0' is that of row 0 already"),
    (row(index=""), "id is blank"),
    (row(index="1", question=" "), "question is blank"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_ROWS)
def test_bad_row(tmp_path: Path, bad: dict[str, str], reason: str) -> None:
    path = write(tmp_path / "bad.tsv", [row(), bad, row(index="2")])
    dataset = TSVDataset(path)
    assert (dataset[0].id, dataset[2].id) == ("0", "2")
    with pytest.raises(RowError, match=rf"bad\.tsv, row 1: .*{reason}"):
        dataset[1]
    skipping = TSVDataset(path, on_error="skip")
    assert [sample.id for sample in skipping] == ["0", "2"]
    assert len(skipping.skipped) == 1


def test_wrong_number_of_cells(tmp_path: Path) -> None:
    path = write(tmp_path / "x.tsv", [row()])
    path.write_bytes(path.read_bytes() + b"1\tq\n")
    with pytest.raises(RowError, match="row 1: has 2 cells, the header has 9 columns"):
        TSVDataset(path)[1]


def test_quote_that_is_never_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "x.tsv", [row()])
    path.write_bytes(path.read_bytes() + b'1\t"open\n2\tlast\n')
    assert [sample.id for sample in TSVDataset(path, on_error="skip")] == ["0"]
    with pytest.raises(RowError, match="row 1: a quoted field is never closed"):
        TSVDataset(path)[1]
    monkeypatch.setattr(tsv, "MAX_RECORD_BYTES", 10)
    with pytest.raises(DataError, match="is a quote never closed"):
        TSVDataset(path)


def test_missing_columns(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text("index\tImage\tquestion\n")
    with pytest.raises(DataError, match="lacks the columns image, answer; it has 'index', 'Image', 'question'"):
        TSVDataset(path)
    path.write_text("")
    with pytest.raises(DataError, match="lacks the columns index, image"):
        TSVDataset(path)
    path.write_text("index\timage\tquestion\tanswer\tA\tA\n")
    with pytest.raises(DataError, match="has the columns A more than once"):
        TSVDataset(path)


texts = st.text(min_size=1).filter(str.strip)
fields = st.lists(st.lists(st.text(), min_size=2, max_size=4), min_size=1, max_size=4)


@given(fields)
@example([["", "\r"]])
@example([["", '"'], ['""', '"\n"'], ["\r\n", "a\rb"], ["x", ""], ["\0", "\t"]])
def test_records_round_trip_and_agree_with_the_csv_module(rows: list[list[str]]) -> None:
    ours = b"".join(tsv.join_record(cells) for cells in rows)
    theirs = io.StringIO(newline="")
    # It quotes a carriage return only if lines end in one; unquoted at a line's end it is part of the line break.
    csv.writer(theirs, "excel-tab", lineterminator="\r\n").writerows(rows)
    for data in (ours, theirs.getvalue().encode()):
        found = list(tsv.records(io.BytesIO(data)))
        assert [[cell.decode() for cell in tsv.split_record(record)] for _, record in found] == rows
        assert all(data[offset : offset + len(record)] == record for offset, record in found)
    assert list(csv.reader(io.StringIO(ours.decode(), newline=""), "excel-tab")) == rows


@given(st.text('"\ta \n', max_size=12))
def test_odd_quotes_split_as_in_the_csv_module(text: str) -> None:
    """Quotes inside unquoted fields, text after a closing quote: as everyone else reads them."""
    found = [record for _, record in tsv.records(io.BytesIO(text.encode()))]
    expected = [cells for cells in csv.reader(io.StringIO(text, newline=""), "excel-tab") if cells]
    try:
        ours = [[cell.decode() for cell in tsv.split_record(record)] for record in found]
    except ValueError:  # never closed: the csv module takes the rest of the file as the field
        return
    assert ours == expected


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    answer = draw(texts)
    options = [answer, *draw(st.lists(texts, max_size=5))]
    multiple_choice = draw(st.booleans())
    options = draw(st.permutations(options)) if multiple_choice else []
    mark = twin_mark(options, options.index(answer)) if multiple_choice else {}
    return Sample(
        id=draw(texts),
        question=draw(texts.filter(lambda text: "<image>" not in text)),
        answer=answer,
        images=[png(draw(st.integers(0, 3))) for _ in range(draw(st.integers(1, 2)))],
        options=options,
        data_source="set",
        metadata=draw(st.dictionaries(st.sampled_from(["category", "hint", "l2-category", "ключ"]), texts)) | mark,
    )


@pytest.mark.integration
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(samples(), min_size=1, max_size=4, unique_by=lambda sample: sample.id))
def test_round_trip(tmp_path: Path, batch: list[Sample]) -> None:
    path = tmp_path / "set.tsv"
    write_tsv(batch, path)
    read = list(TSVDataset(path))
    assert read == batch
    assert [image.encoded() for sample in read for image in sample.images] == [
        image.encoded() for sample in batch for image in sample.images
    ]


def test_writer_refers_to_images_it_has_written(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    write_tsv([Sample(f"s{i}", "q", "a", png(i // 2), metadata={"n": i}) for i in range(4)], path)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file, dialect="excel-tab"))
    assert [row["image"] for row in rows] == [b64(0), "s0", b64(1), "s2"]
    assert list(rows[0]) == ["index", "image", "question", "answer"]


def test_writer_refuses(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    for options, reason in (
        (("a", " "), "a blank option"),
        (("a", *map(str, range(26))), "27 options"),
    ):
        with pytest.raises(DataError, match=f"cannot write sample 's'.*{reason}"):
            write_tsv([Sample("s", "q", "a", png(), options=options)], path)
    with pytest.raises(TypeError, match="goes through the samples twice"):
        write_tsv(iter([Sample("s", "q", "a", png())]), path)
    assert not list(tmp_path.iterdir())
