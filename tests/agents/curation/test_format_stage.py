"""The stage ``format``: labels beside the data, never twice, whatever is in a row."""

import io
import json

import numpy as np
import pytest
from PIL import Image as PILImage
from skimage import data as photographs

from deepeyes_env import Sample
from deepeyes_env.agents.curation import begin_curation, label_format
from deepeyes_env.agents.curation.label_file import LabelTable, label_path, read_labels
from deepeyes_env.agents.curation.lookalikes import Look, Lookalikes
from deepeyes_env.data import load, write_jsonl
from deepeyes_env.errors import DataError, UsageError

PHOTOGRAPHS = {name: getattr(photographs, name)() for name in ("astronaut", "coffee", "chelsea", "rocket")}


def encoded(pixels, format="PNG", **options):
    buffer = io.BytesIO()
    PILImage.fromarray(pixels).convert("RGB").save(buffer, format, **options)
    return buffer.getvalue()


def labelled(folder):
    return {each.row: each for each in read_labels(label_path(folder, "format"))}


@pytest.fixture
def rows(tmp_path):
    """Eight questions in a file: duplicates, a photograph recompressed, and rows that cannot be used."""
    astronaut, coffee, chelsea = (encoded(PHOTOGRAPHS[name]) for name in ("astronaut", "coffee", "chelsea"))
    again = encoded(PHOTOGRAPHS["astronaut"], "JPEG", quality=60)
    colours = ("red", "blue")
    samples = [
        Sample("first", "What color is the suit?", "orange", astronaut, options=("orange", "blue")),
        Sample("another", "What color is the cup?", "red", coffee, options=colours),
        Sample("recompressed", "What color is the suit?", "orange", again),
        Sample("other question", "What is the man doing?", "posing", again, options=("posing", "running")),
        Sample("other image", "What color is the suit?", "orange", chelsea, options=("orange", "blue")),
    ]
    path = tmp_path / "rows.jsonl"
    write_jsonl(samples, path)
    (tmp_path / "broken.png").write_bytes(astronaut[: len(astronaut) // 2])
    with path.open("a") as file:
        file.write(json.dumps({"id": "broken", "question": "q", "answer": "a", "images": "broken.png"}) + "\n")
        file.write("no json\n")
        file.write(json.dumps({"id": "no image", "question": "q", "answer": "a", "images": "none.png"}) + "\n")
    return path


def test_each_question_has_labels_or_a_reason(rows, tmp_path):
    curation = begin_curation(tmp_path / "out", rows)
    label_format(curation.dataset, curation.folder)
    found = labelled(curation.folder)
    assert sorted(found) == list(range(8))
    names = ("open", "duplicate", "near_image")
    assert [tuple(found[row].labels[name] for name in names) for row in range(5)] == [
        (1, 0, 0),
        (1, 0, 0),
        (1, 1, 1),
        (0, 0, 1),
        (1, 0, 0),
    ]
    assert [bool(found[row].reason) for row in range(8)] == [False] * 5 + [True] * 3
    assert "cannot be decoded" in found[5].reason
    assert "not JSON" in found[6].reason
    assert "none.png" in found[7].reason
    assert LabelTable(curation.folder, 8).reasons("format").keys() == {5, 6, 7}


@pytest.mark.parametrize("lines", [0, 1, 3])
def test_it_goes_on_where_it_stopped(rows, tmp_path, lines):
    """Whole lines and half a line of a killed run: the rest is the same as in one go."""
    whole, part = begin_curation(tmp_path / "whole", rows), begin_curation(tmp_path / "part", rows)
    label_format(whole.dataset, whole.folder)
    written = label_path(whole.folder, "format").read_bytes().splitlines(keepends=True)
    path = label_path(part.folder, "format")
    path.parent.mkdir()
    path.write_bytes(b"".join(written[:lines]) + written[lines][:25])
    label_format(part.dataset, part.folder)
    assert path.read_bytes() == b"".join(written)
    label_format(part.dataset, part.folder)
    assert path.read_bytes() == b"".join(written)


def test_a_limit_may_be_raised(rows, tmp_path):
    curation = begin_curation(tmp_path / "out", rows)
    label_format(curation.dataset, curation.folder, limit=2)
    assert sorted(labelled(curation.folder)) == [0, 1]
    label_format(curation.dataset, curation.folder)
    assert sorted(labelled(curation.folder)) == list(range(8))


def test_a_folder_is_of_one_data_set(rows, tmp_path):
    begin_curation(tmp_path / "out", rows)
    assert len(begin_curation(tmp_path / "out").dataset) == 8
    with pytest.raises(UsageError, match="was begun with data="):
        begin_curation(tmp_path / "out", "pattern_search")
    with pytest.raises(UsageError, match="open"):
        begin_curation(begin_curation(tmp_path / "other", rows, {"open": True}).folder, rows, {"open": False})
    with pytest.raises(UsageError, match="give the data"):
        begin_curation(tmp_path / "none")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").touch()
    with pytest.raises(FileExistsError, match="thesis"):
        begin_curation(tmp_path / "theirs", rows)


def test_labels_of_other_data_are_refused(rows, tmp_path):
    curation = begin_curation(tmp_path / "out", rows)
    label_format(curation.dataset, curation.folder)
    with pytest.raises(DataError, match="belongs to other data"):
        LabelTable(curation.folder, 3)


def variants(pixels):
    image = PILImage.fromarray(pixels).convert("RGB")
    third = image.resize((image.width // 3, image.height // 3))
    hair = image.crop((2, 2, image.width - 2, image.height - 2))
    yield from (np.asarray(each) for each in (third, hair))
    for quality in (60, 25):
        yield np.asarray(PILImage.open(io.BytesIO(encoded(pixels, "JPEG", quality=quality))))


def test_what_was_written_anew_looks_the_same_and_others_do_not():
    seen = Lookalikes()
    for row, pixels in enumerate(PHOTOGRAPHS.values()):
        look = Look.of_pixels(pixels)
        assert seen.find(look) is None
        assert Look.read(str(look)) == look
        seen.add(row, look)
    for row, pixels in enumerate(PHOTOGRAPHS.values()):
        assert all(seen.find(Look.of_pixels(each)) == row for each in variants(pixels))
    turned = PHOTOGRAPHS["coffee"][..., ::-1]
    assert seen.find(Look.of_pixels(np.ascontiguousarray(turned))) is None, "another colour is another image"


def test_scenes_of_a_task_are_not_taken_for_each_other():
    seen = Lookalikes()
    dataset = load("pattern_search")
    for row in range(25):
        look = Look.of(dataset[row].images[0])
        assert seen.find(look) is None
        seen.add(row, look)


def test_more_images_than_there_was_room_for_at_first():
    seen = Lookalikes()
    drawn = np.random.default_rng(0).integers(0, 256, (1500, 80), dtype=np.uint8)
    looks = [Look(row[:32].tobytes(), row[32:].tobytes()) for row in drawn]
    for row, look in enumerate(looks):
        seen.add(row, look)
    assert [seen.find(looks[row]) for row in (0, 1023, 1024, 1499)] == [0, 1023, 1024, 1499]
