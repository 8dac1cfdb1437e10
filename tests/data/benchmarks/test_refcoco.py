import pytest

from deepeyes_env.data.benchmarks import open_benchmark
from deepeyes_env.data.benchmarks.refcoco import split_of
from deepeyes_env.errors import DataError
from deepeyes_env.judges.boxes import BoxJudge, read_boxes

IMAGE = "data/coco/train2014/COCO_train2014_000000000001.jpg"
BOX = (10.0, 5.0, 30.0, 25.0)
SIZE = {"width": 60, "height": 40}


def check(sample, expression="far left vase"):
    assert sample.boxes == (BOX,)
    assert expression in sample.question
    assert sample.metadata["expression"] == expression
    assert sample.images[0].size == (60, 40)
    assert read_boxes(sample.answer) == sample.boxes
    assert BoxJudge("native")(sample.answer, sample).score == 1


@pytest.mark.parametrize(
    "folder", ["train2014", "coco/train2014", "images", ".", "../coco/train2014", "data/coco/train2014"]
)
def test_jsonl_with_corners(put_lines, put_image, folder):
    path = put_lines("refcoco/refcoco_val.jsonl", {"image": IMAGE, "sent": "far left vase", "bbox": BOX, **SIZE})
    put_image(f"refcoco/{folder}/COCO_train2014_000000000001.jpg")
    bench, data = open_benchmark("refcoco", path)
    (sample,) = data
    check(sample)
    assert (bench.metric, bench.judge, sample.id) == ("box", "box", "refcoco_val:0")


def test_the_answer_turns_with_the_image(put_lines, put_image):
    record = {"image": IMAGE, "sent": "far left vase", "bbox": [10.25, 5, 30, 25.5]}
    put_image("train2014/COCO_train2014_000000000001.jpg")
    _, data = open_benchmark("refcoco", put_lines("r.jsonl", *[record] * 9), rotated=True)
    for sample in data:
        assert BoxJudge("native").iou(sample.answer, sample) == pytest.approx(1)
    assert len({sample.answer for sample in data}) == 3


def test_a_json_array_with_width_and_height(put_json, put_image):
    put_image("train2014/COCO_train2014_000000000001.jpg")
    record = {"img_id": "COCO_train2014_000000000001", "bbox": [10, 5, 20, 20], **SIZE}
    records = [record | {"sents": "far left vase"}, record | {"sents": ["far left vase", "blue one"]}]
    _, data = open_benchmark("refcoco", put_json("refcoco_testA.json", records))
    first, second, third = data
    check(first)
    check(second)
    check(third, "blue one")
    assert len({sample.id for sample in data}) == 3


def test_parquet_with_several_expressions_a_row(put_parquet, make_jpeg):
    row = {"question_id": "1", "image": {"bytes": make_jpeg(), "path": "x.jpg"}, "answer": ["far left vase", "blue"],
           "bbox": [10.0, 5.0, 20.0, 20.0], "file_name": "COCO_train2014_1.jpg"}  # fmt: skip
    _, data = open_benchmark("refcoco", put_parquet("val.parquet", [row, row | {"answer": ["cup"]}]))
    assert [sample.metadata["expression"] for sample in data] == ["far left vase", "blue", "cup"]
    check(data[0])
    check(data[1], "blue")
    assert [sample.id for sample in data] == ["val:0/0", "val:0/1", "val:1/0"]


@pytest.mark.parametrize(
    "row",
    [
        {"answer": "[10, 5, 30, 25]"},
        {"answer": "10.0,5.0,30.0,25.0"},
        {"answer": "x", "bbox_x1": 10, "bbox_y1": 5, "bbox_x2": 30, "bbox_y2": 25},
        {"answer": "x", "bbox_x1_norm": 10 / 60, "bbox_y1_norm": 5 / 40, "bbox_x2_norm": 0.5, "bbox_y2_norm": 25 / 40},
    ],
)
def test_vlmevalkits_tsv(put_tsv, row):
    row = {"question": "far left vase", "split": "RefCOCO_val", **row}
    (sample,) = open_benchmark("refcoco", put_tsv("RefCOCO.tsv", row))[1]
    assert sample.boxes[0] == pytest.approx(BOX)
    assert 'describes: "far left vase"' in sample.question
    assert sample.metadata == {"category": "RefCOCO_val"}


def test_a_question_that_asks_for_a_box_is_left_alone_and_a_box_in_an_expression_is_not(put_tsv):
    asked = {"question": "Give the bounding box of the vase.", "answer": "[10, 5, 30, 25]"}
    first, second = open_benchmark("refcoco", put_tsv("r.tsv", asked, asked | {"question": "red box"}))[1]
    assert first.question == asked["question"]
    assert "red box" in second.question
    assert "bounding box" in second.question


def test_the_file_as_published_answers_in_fractions_of_the_sides(put_tsv):
    row = {"question": "vase", "answer": "[0.166667, 0.125, 0.5, 0.625]", "category": "RefCOCO testA"}
    (sample,) = open_benchmark("refcoco", put_tsv("RefCOCO.tsv", row))[1]
    assert sample.boxes[0] == pytest.approx(BOX, abs=1e-4)
    assert sample.metadata["category"] == "RefCOCO testA"


@pytest.mark.parametrize(
    ("category", "split"),
    [
        ("RefCOCO testA", "RefCOCO_testA"),
        ("RefCOCO+ test B", "RefCOCO+_testB"),
        ("RefCOCOg test", "RefCOCOg_test"),
        ("RefCOCO_val", "RefCOCO_val"),
        ("RefCOCO other part", "RefCOCO_other_part"),
        ("", "RefCOCO"),
    ],
)
def test_splits_have_vlmevalkits_names(category, split):
    assert split_of({"category": category}) == split


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 640}, r"the boxes are of an image of 640 x 40, .* has \(60, 40\)"),
        ({"bbox": [10, 5, 30]}, "'bbox' must be four numbers"),
        ({"bbox": [30, 5, 10, 25]}, "needs x1 < x2"),
        ({"image": "COCO_train2014_2.jpg"}, "there is no image"),
    ],
)
def test_bad_records(put_lines, put_image, change, message):
    put_image("train2014/COCO_train2014_000000000001.jpg")
    good = {"image": IMAGE, "sent": "vase", "bbox": BOX, **SIZE}
    data = open_benchmark("refcoco", put_lines("r.jsonl", good, good | change))[1]
    assert data[0].boxes == (BOX,)
    with pytest.raises(DataError, match=f"r.jsonl, row 1: .*{message}"):
        data[1]


def test_other_files_are_refused(put_lines):
    with pytest.raises(DataError, match=r"has no 'bbox'; it has 'sent'. Expected: refcoco_val.jsonl"):
        open_benchmark("refcoco", put_lines("r.jsonl", {"sent": "vase"}))
