"""JSONL: round trips, defaults, bad lines."""

import io
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image as PILImage

from deepeyes_env.core import Sample
from deepeyes_env.data import JSONLDataset, write_jsonl
from deepeyes_env.errors import DataError, RowError
from deepeyes_env.prompt_messages import PromptMessage


def png(color: int = 0) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", (20, 30), (color, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.png").write_bytes(png())
    return tmp_path


def line(**changes: Any) -> str:
    return json.dumps({"id": "x", "question": "Colour?", "answer": "red", "images": "a.png"} | changes)


texts = st.text(min_size=1).filter(str.strip)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    answer = draw(texts)
    images = [png(draw(st.integers(0, 255))) for _ in range(draw(st.integers(1, 2)))]
    boxes = draw(st.lists(st.tuples(*[st.floats(0, 10)] * 2, *[st.floats(11, 50)] * 2), max_size=2))
    return Sample(
        id=draw(texts),
        question=draw(texts.filter(lambda text: "<image>" not in text)),
        answer=answer,
        images=images,
        options=draw(st.permutations([answer, *draw(st.lists(st.text(), max_size=2))])) if draw(st.booleans()) else (),
        boxes=boxes,
        box_images=[draw(st.integers(0, len(images) - 1)) for _ in boxes],
        env_name=draw(st.none() | st.just("") | st.just("VisualToolbox-v2")),
        data_source=draw(st.text()),
        metadata=draw(st.dictionaries(st.text(), json_values, max_size=3)),
        messages=draw(st.lists(st.builds(PromptMessage, st.sampled_from(("system", "user")), st.text()), max_size=3)),
    )


@pytest.mark.integration
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(samples(), min_size=1, max_size=4, unique_by=lambda sample: sample.id))
def test_round_trip(tmp_path: Path, batch: list[Sample]) -> None:
    path = tmp_path / "set.jsonl"
    write_jsonl(batch, path)
    read = list(JSONLDataset(path))
    assert read == batch
    assert [image.encoded() for sample in read for image in sample.images] == [
        image.encoded() for sample in batch for image in sample.images
    ]


def test_images_are_stored_once_by_content(tmp_path: Path) -> None:
    pixels = np.zeros((5, 6, 3), np.uint8)
    jpeg = io.BytesIO()
    PILImage.new("RGB", (8, 8)).save(jpeg, "JPEG")
    images = [png(1), png(1), pixels, jpeg.getvalue()]
    write_jsonl([Sample(f"s{i}", "q", "a", image) for i, image in enumerate(images)], tmp_path / "set.jsonl")
    stored = sorted((tmp_path / "set_images").iterdir())
    assert sorted(path.suffix for path in stored) == [".jpg", ".png", ".png"]
    dataset = JSONLDataset(tmp_path / "set.jsonl")
    assert dataset[0].images == dataset[1].images
    assert np.array_equal(dataset[2].images[0].pixels(), pixels)


def test_defaults_and_forms(folder: Path) -> None:
    lines = [
        '{"question": "q", "answer": "a", "images": ["a.png", "a.png"]}',
        "",
        line(env_name=None),
        "  \r",
        line(
            env_name="visual_toolbox_v5",
            options=["red", "blue"],
            boxes=[[1, 2, 3, 4]],
            data_source="d",
            metadata={"k": [1]},
        ),
    ]
    path = folder / "my.set.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + "\n".join(lines).encode())
    dataset = JSONLDataset(path)
    assert len(dataset) == 3
    assert (dataset[0].id, dataset[0].env_name, len(dataset[0].images)) == ("my.set:0", "", 2)
    assert dataset[1].env_name is None
    assert dataset[-1] == Sample(
        "x",
        "Colour?",
        "red",
        folder / "a.png",
        options=("red", "blue"),
        boxes=((1, 2, 3, 4),),
        env_name="visual_toolbox_v5",
        data_source="d",
        metadata={"k": [1]},
    )
    assert list(pickle.loads(pickle.dumps(dataset))) == list(dataset)


BAD_LINES = [
    ("[1]", "must be a JSON object, not list"),
    ('{"id": "x"', "is not JSON: .*line 1 column 11"),
    ("[" * 100_000, "is not usable JSON: nested too deeply|is not JSON"),
    (line(anwser="red"), "unknown key 'anwser'; did you mean 'answer'?"),
    (line(zzz=1), "unknown key 'zzz'; known: answer, box_images, boxes"),
    ('{"question": "q", "images": "a.png"}', r"has no 'answer'; it has 'question', 'images'"),
    ('{"question": "q", "answer": "a"}', "has no 'images'"),
    (line(answer=3), "'answer' must be text, not 3"),
    (line(images=[]), "has no images"),
    (line(images=[1]), "'images' must be a list of texts"),
    (line(images="b.png"), r"b\.png"),
    (line(images="bad.jsonl"), "image"),
    (line(options="red"), "'options' must be a list of texts"),
    (line(options=["blue"]), "answer 'red' is not one of the options"),
    (line(boxes=[1, 2, 3, 4]), "'boxes' must be a list of boxes"),
    (line(boxes=[[1, 2, 3]]), "is not four numbers"),
    (line(boxes=[[1, 2, 1, 3]]), "needs x1 < x2"),
    (line(boxes=[[1, 2, 3, 4]], box_images=[1]), r"box_images=\[1\] for 1 boxes and 1 images"),
    (line(boxes=[[1, 2, 3, 4]], box_images=[0, 0]), r"box_images=\[0, 0\] for 1 boxes"),
    (line(boxes=[[1, 2, 3, 4]], box_images=[True]), "must be a list of indices"),
    ('{"question": "q", "answer": "a", "images": "a.png", "boxes": [[0, 0, Infinity, 1]]}', "Infinity is not a number"),
    (line(env_name=3), "'env_name' must be text"),
    (
        line(env_name="visual_toolbox_v9"),
        r"env_name: unknown toolbox 'visual_toolbox_v9'; did you mean 'VisualToolbox-v\d'\?",
    ),
    (line(metadata=[]), "'metadata' must be an object"),
    (line(messages={}), "'messages' must be a list"),
    (line(messages=[{"role": "user"}]), "is not {'role': text, 'content': text}"),
    (line(question="\ud800"), "lone surrogate"),
    (line(question="  "), "question is blank"),
    (line(question="<image><image>"), "2 <image> placeholders"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES)
def test_bad_line(folder: Path, bad: str, reason: str) -> None:
    path = folder / "bad.jsonl"
    path.write_text(f"{line()}\n{bad}\n{line(id='y')}\n")
    dataset = JSONLDataset(path)
    assert (dataset[0].id, dataset[2].id) == ("x", "y")
    with pytest.raises(RowError, match=rf"bad\.jsonl, row 1: (.*)({reason})") as caught:
        dataset[1]
    assert (caught.value.row, caught.value.file) == (1, str(path))
    assert caught.value.__cause__ is not None
    skipping = JSONLDataset(path, on_error="skip")
    assert [sample.id for sample in skipping] == ["x", "y"]
    assert skipping[1].id == "y"
    assert [skipped.row for skipped in skipping.skipped] == [1]


def test_not_utf8(folder: Path) -> None:
    (folder / "x.jsonl").write_bytes(b'{"question": "\xff"}')
    with pytest.raises(RowError, match="is not UTF-8 text"):
        JSONLDataset(folder / "x.jsonl")[0]


def test_row_error_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(RowError("f.jsonl", 3, "why")))
    assert (error.file, error.row, error.reason, str(error)) == ("f.jsonl", 3, "why", "f.jsonl, row 3: why")


def test_writer_refuses_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_jsonl([Sample("a", "q", "a", png())], path)
    before = path.read_bytes()
    for metadata in ({"x": object()}, {"x": float("nan")}, {"x": "\ud800"}):
        with pytest.raises(DataError, match="cannot write sample 'b'"):
            write_jsonl([Sample("b", "q", "a", png(), metadata=metadata)], path)
    with pytest.raises(DataError, match="another sample has the same id"):
        write_jsonl([Sample("b", "q", "a", png())] * 2, path)
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["x.jsonl", "x_images"]
