"""V* folders."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image as PILImage

from deepeyes_env.core import Sample
from deepeyes_env.data import VStarDataset, write_vstar
from deepeyes_env.errors import DataError, RowError


def jpeg(color: int = 0) -> bytes:
    buffer = io.BytesIO()
    PILImage.new("RGB", (60, 40), (color, 9, 200)).save(buffer, "JPEG")
    return buffer.getvalue()


ANNOTATION = {
    "target_object": ["glove", "cap"],
    "bbox": [[3, 4, 10, 20], [30.5, 0, 8, 9]],
    "question": "What colour is the glove?",
    "options": ["blue", "red", "green"],
}


def put(root: Path, category: str, stem: str, suffix: str = ".jpg", **changes: Any) -> None:
    folder = root / category
    folder.mkdir(exist_ok=True)
    (folder / f"{stem}{suffix}").write_bytes(jpeg())
    (folder / f"{stem}.json").write_text(json.dumps(ANNOTATION | changes))


def test_reads_the_layout_of_the_benchmark(tmp_path: Path) -> None:
    put(tmp_path, "relative_position", "sa_2", ".PNG", options=["left", "right"])
    put(tmp_path, "direct_attributes", "sa_10")
    put(tmp_path, "direct_attributes", "sa_1.5")
    (tmp_path / "direct_attributes" / "notes.txt").write_text("not a sample")
    dataset = VStarDataset(tmp_path)
    assert [s.id for s in dataset] == ["direct_attributes/sa_1.5", "direct_attributes/sa_10", "relative_position/sa_2"]
    sample = dataset[1]
    assert (sample.question, sample.answer) == ("What colour is the glove?", "blue")
    assert sample.options == ("blue", "red", "green")
    assert sample.boxes == ((3, 4, 13, 24), (30.5, 0, 38.5, 9))
    assert sample.data_source == "vstar"
    assert sample.metadata == {"category": "direct_attributes", "target_object": ["glove", "cap"]}
    assert sample.images[0].encoded() == jpeg()
    assert dataset[2].answer == "left"


def test_round_trip(tmp_path: Path) -> None:
    samples = [
        Sample(
            f"{category}/{i}",
            f'Où est "{i}"?\n',
            options[0],
            jpeg(i),
            options=options,
            boxes=((1, 2, 3, 4.5),),
            data_source="vstar",
            metadata={"category": category, "target_object": ["x"]},
        )
        for i, (category, options) in enumerate(
            [("direct_attributes", ("a", "b", "c")), ("relative_position", ("links", "rechts"))]
        )
    ]
    write_vstar(samples, tmp_path)
    for before, after in zip(samples, VStarDataset(tmp_path), strict=True):
        assert before == after


def test_writer_puts_the_right_option_first(tmp_path: Path) -> None:
    metadata = {"category": "direct_attributes"}
    write_vstar([Sample("a", "q", "b", jpeg(), options=("a", "b"), metadata=metadata)], tmp_path)
    assert VStarDataset(tmp_path)[0].answer == "b"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"options": []}, "has no 'options'"),
        ({"options": "red"}, "'options' must be a list of texts"),
        ({"question": None}, "'question' must be text"),
        ({"bbox": [[1, 2, 3]]}, r"bbox \[1, 2, 3\] is not four numbers"),
        ({"bbox": [[1, 2, 0, 3]]}, "needs a width and a height above 0"),
        ({"bbox": [[1, 2, True, "3"]]}, "'bbox' must be a list of boxes"),
    ],
)
def test_bad_annotation(tmp_path: Path, changes: dict[str, Any], reason: str) -> None:
    put(tmp_path, "direct_attributes", "a")
    put(tmp_path, "direct_attributes", "b", **changes)
    with pytest.raises(DataError, match=rf"b\.json, row 1: .*{reason}"):
        list(VStarDataset(tmp_path))
    dataset = VStarDataset(tmp_path, on_error="skip")
    assert [sample.id for sample in dataset] == ["direct_attributes/a"]
    assert [Path(skipped.file).name for skipped in dataset.skipped] == ["b.json"]


def test_image_and_annotation_without_each_other(tmp_path: Path) -> None:
    put(tmp_path, "direct_attributes", "a")
    put(tmp_path, "direct_attributes", "b")
    put(tmp_path, "direct_attributes", "c")
    folder = tmp_path / "direct_attributes"
    (folder / "a.json").unlink()
    (folder / "b.jpg").unlink()
    (folder / "c.png").write_bytes(b"a second image")
    dataset = VStarDataset(tmp_path)
    for index, reason in enumerate((r"No such file.*a\.json", r"has \[\]", r"has \['c.jpg', 'c.png'\]")):
        with pytest.raises(RowError, match=reason):
            dataset[index]
    assert len(VStarDataset(tmp_path, on_error="skip").skipped) == 3


def test_not_a_vstar_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a V\\* folder, has neither direct_attributes nor relative_position"):
        VStarDataset(tmp_path)


@pytest.mark.parametrize(
    ("sample", "reason"),
    [
        (Sample("a", "q", "b", jpeg(), options=("b",)), "category"),
        (Sample("a", "q", "b", jpeg(), metadata={"category": "direct_attributes"}), "needs options"),
    ],
)
def test_writer_refuses(tmp_path: Path, sample: Sample, reason: str) -> None:
    with pytest.raises(DataError, match=f"cannot write sample 'a'.*{reason}"):
        write_vstar([sample], tmp_path)
